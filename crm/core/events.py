"""Events: what happened, published to the handlers of `crm.reactions` in the same process and transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crm.core import current, row_scope


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. Fields hold ids and enums, never personal data."""


Handler = Callable[[Any], None]


def publish(event: Event) -> None:
    """Call the handlers of `event` in the order of `crm.reactions`. An error in one rolls back the whole transaction.

    They see all rows: what follows from an act does not depend on what its actor may see.
    """
    with row_scope.lifted():
        for handler in current.services().reactions.get(type(event), ()):
            handler(event)
