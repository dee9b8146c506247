"""Tasks: priorities, repetition, and how long one is put off. Pure."""

import calendar
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

PRIORITIES: Mapping[str, str] = {"high": "High", "normal": "Normal", "low": "Low"}
REPEATS: Mapping[str, str] = {
    "day": "Every day",
    "week": "Every week",
    "two_weeks": "Every two weeks",
    "month": "Every month",
}
SNOOZES: Mapping[str, str] = {"hour": "In an hour", "tomorrow": "Tomorrow", "week": "In a week"}
_DAYS = {"day": 1, "week": 7, "two_weeks": 14}


def next_due(due_at: datetime, *, repeats: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when a repeated task is due next: at the same wall time, and after now."""
    first = due_at.astimezone(zone)
    moment, count = first, 0
    while moment <= now:
        count += 1
        moment = (
            _months_later(first, count) if repeats == "month" else first + timedelta(_DAYS[repeats] * count)
        )
    if count == 0:  # done before it was due
        moment = _months_later(first, 1) if repeats == "month" else first + timedelta(_DAYS[repeats])
    return moment.astimezone(UTC)


def _months_later(first: datetime, count: int) -> datetime:
    year, month = divmod(first.year * 12 + first.month - 1 + count, 12)
    day = min(first.day, calendar.monthrange(year, month + 1)[1])
    return first.replace(year=year, month=month + 1, day=day)


def snoozed_until(code: str, *, due_at: datetime, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when a task that is put off is due: in an hour, or at its wall time on a later day. Raises KeyError."""
    if code == "hour":
        return now + timedelta(hours=1)
    days = {"tomorrow": 1, "week": 7}[code]
    wall = due_at.astimezone(zone).timetz()
    return datetime.combine(now.astimezone(zone).date() + timedelta(days), wall).astimezone(UTC)
