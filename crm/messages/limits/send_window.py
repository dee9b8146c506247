"""The send window: local hours and weekdays in which a sequence may send. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Window:
    """Local hours and weekdays in which mail may leave; `start` later than `end` spans midnight.

    Weekdays count from Monday = 0 and name the day on which the window opens.
    """

    start: time
    end: time
    weekdays: frozenset[int]

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError("A window needs a start and an end that differ.")
        if not self.weekdays or not self.weekdays <= set(range(7)):
            raise ValueError("A window needs at least one weekday, Monday = 0 to Sunday = 6.")


def window_from(stored: Mapping[str, Any]) -> Window:
    """Build a window from its stored form, {"start": "09:00", "end": "17:00", "weekdays": [0, ...]}.

    Raises ValueError, KeyError or TypeError for anything else.
    """
    return Window(
        time.fromisoformat(stored["start"]), time.fromisoformat(stored["end"]), frozenset(stored["weekdays"])
    )


def stored_window(window: Window, *, any_hour_until: datetime | None = None) -> dict[str, Any]:
    """Return the stored form of a window; until `any_hour_until` the email may leave at any hour."""
    stored: dict[str, Any] = {
        "start": window.start.isoformat("minutes"),
        "end": window.end.isoformat("minutes"),
        "weekdays": sorted(window.weekdays),
    }
    return stored | ({"any_hour_until": any_hour_until.isoformat()} if any_hour_until else {})


def is_any_hour(stored: Mapping[str, Any], moment: datetime) -> bool:
    """Tell whether an email may leave at any hour at this moment, because staff just asked for it."""
    until = stored.get("any_hour_until")
    return until is not None and moment < datetime.fromisoformat(until)


def into_window(moment: datetime, window: Window, zone: ZoneInfo) -> datetime:
    """Return the first instant at or after `moment` that lies inside the window in this zone."""
    today = moment.astimezone(zone).date()
    for offset in range(-1, 9):  # yesterday's window may span midnight; a week ahead always has a weekday
        opens, closes = _opening(today + timedelta(days=offset), window, zone)
        if (
            (today + timedelta(days=offset)).weekday() in window.weekdays
            and moment < closes
            and opens < closes
        ):
            return max(moment, opens)
    raise AssertionError("unreachable: some weekday comes within eight days")


def _opening(day: date, window: Window, zone: ZoneInfo) -> tuple[datetime, datetime]:
    last = day if window.end > window.start else day + timedelta(days=1)
    return instant(datetime.combine(day, window.start), zone), instant(
        datetime.combine(last, window.end), zone
    )


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Return a wall-clock time as an instant; one that the spring change skips moves ahead by the gap (PEP 495)."""
    return local.replace(tzinfo=zone).astimezone(UTC)
