"""Events: what happened, published to the handlers of `crm.reactions` in the same process and transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. Fields hold ids and enums, never personal data."""


Handler = Callable[[Any], None]
_table: Mapping[type[Event], Sequence[Handler]] = {}


def route(table: Mapping[type[Event], Sequence[Handler]]) -> None:
    """Set who acts on what. Called once, by the table in `crm.reactions`."""
    global _table
    _table = table


def publish(event: Event) -> None:
    """Tell the listeners of `event`, in the order of the table. An error in one undoes the whole transaction."""
    for handler in _table.get(type(event), ()):
        handler(event)
