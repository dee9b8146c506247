"""The running app: its services, settings and calendar."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flask import current_app

from crm.core.business_hours import Calendar
from crm.core.config import Settings
from crm.core.services import Services

Kept = TypeVar("Kept")


def services() -> Services:
    """Return what the running app works with. Raises RuntimeError outside an app context."""
    app: Any = current_app._get_current_object()  # type: ignore[attr-defined]  # a tenth of the proxy's time
    found: Services = app.services
    return found


def settings() -> Settings:
    """Return the settings of the running app. Raises RuntimeError outside an app context."""
    return services().settings


def calendar() -> Calendar:
    """Return the opening hours of the running app's clinic. Raises RuntimeError outside an app context."""
    return services().calendar


class PerApp(Generic[Kept]):
    """A value that a feature keeps for each app, such as open connections or rows that never change.

    `make` gives the value at the first use. A module global would be shared by all apps of the process.
    """

    def __init__(self, make: Callable[[Settings], Kept]) -> None:
        self._make = make

    def get(self) -> Kept:
        """Return the value of the running app."""
        found = services()
        if id(self) not in found.kept:
            found.kept[id(self)] = self._make(found.settings)
        kept: Kept = found.kept[id(self)]
        return kept

    def set(self, value: Kept) -> None:
        """Replace the value of the running app."""
        services().kept[id(self)] = value
