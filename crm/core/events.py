"""Events: what happened, published to the handlers of `crm.reactions` in the same process and transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crm.core import current


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. Fields hold ids and enums, never personal data."""


Handler = Callable[[Any], None]


def publish(event: Event) -> None:
    """Call the handlers of `event` in the order of `crm.reactions`. An error in one rolls back the whole transaction."""
    for handler in current.services().reactions.get(type(event), ()):
        handler(event)
