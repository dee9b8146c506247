"""Opening hours: the clinic's calendar, and time counted in it. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from crm.core.errors import Invalid

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = timedelta(days=1)
HORIZON = 800  # days looked ahead before a calendar counts as never open


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """When the clinic is open. `hours`: weekday (Monday is 0) -> opening and closing wall time; `closed`: single days.

    `holidays`: whether the main holidays of the United States are closed, too.
    """

    zone: ZoneInfo
    hours: Mapping[int, tuple[time, time]]
    closed: frozenset[date] = frozenset()
    holidays: bool = True

    def opening(self, day: date) -> tuple[datetime, datetime] | None:
        """Return when the clinic opens and closes on a local day, in UTC; None when it does not open."""
        span = self.hours.get(day.weekday())
        if span is None or day in self.closed or (self.holidays and day in holidays_of(day.year)):
            return None
        opens, closes = (datetime.combine(day, wall, self.zone).astimezone(UTC) for wall in span)
        return opens, closes

    def _openings(self, since: datetime) -> Iterator[tuple[date, datetime, datetime]]:
        day = since.astimezone(self.zone).date()
        for _ in range(HORIZON):
            span = self.opening(day)
            if span is not None and span[1] > since:
                yield day, max(span[0], since), span[1]
            day += DAY
        raise ValueError("No opening in the next 800 days. Check CLINIC_HOURS and CLINIC_CLOSED.")

    def add_time(self, since: datetime, amount: timedelta) -> datetime:
        """Return the moment at which `amount` of opening time has passed since `since`."""
        left = amount
        for _, begins, ends in self._openings(since):
            if left <= ends - begins:
                return begins + left
            left -= ends - begins
        raise AssertionError("unreachable")

    def add_days(self, since: datetime, count: int) -> datetime:
        """Return the same wall time `count` open days later, within that day's hours.

        A lead that arrives while the clinic is closed counts from the next opening.
        """
        found = None
        for number, (day, begins, _) in enumerate(self._openings(since)):
            if number == 0:
                found = begins.astimezone(self.zone).time()
            if number == count and found is not None:
                opens, closes = self.hours[day.weekday()]
                wall = min(max(found, opens), closes)
                return datetime.combine(day, wall, self.zone).astimezone(UTC)
        raise AssertionError("unreachable")

    def after(self, since: datetime, within: timedelta) -> datetime:
        """Return when `within` has passed: whole days count as open days, anything else as opening time."""
        if within % DAY:
            return self.add_time(since, within)
        return self.add_days(since, within // DAY)

    def next_open(self, moment: datetime) -> datetime:
        """Return `moment` if the clinic is open then, else the next opening."""
        return next(begins for _, begins, _ in self._openings(moment))

    def between(self, start: datetime, end: datetime) -> timedelta:
        """Return how much opening time lies between two moments; none when `end` comes first."""
        total = timedelta()
        if end <= start:
            return total
        day, last = (moment.astimezone(self.zone).date() for moment in (start, end))
        while day <= last:
            span = self.opening(day)
            if span is not None:
                total += max(min(span[1], end) - max(span[0], start), timedelta())
            day += DAY
        return total


@lru_cache(maxsize=64)
def holidays_of(year: int) -> frozenset[date]:
    """Return the days on which clinics commonly close: seven of the holidays of 5 U.S.C. 6103.

    A Saturday holiday is observed on the Friday before, a Sunday holiday on the Monday after.
    """
    fixed = [date(year, 1, 1), date(year, 6, 19), date(year, 7, 4), date(year, 12, 25), date(year + 1, 1, 1)]
    kept = {day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0)) for day in fixed}
    memorial = max(date(year, 5, number) for number in range(25, 32) if date(year, 5, number).weekday() == 0)
    labor = min(date(year, 9, number) for number in range(1, 8) if date(year, 9, number).weekday() == 0)
    thanks = min(date(year, 11, number) for number in range(22, 29) if date(year, 11, number).weekday() == 3)
    return frozenset(day for day in {*kept, memorial, labor, thanks} if day.year == year)


_SPAN = re.compile(r"([a-z]{3})(?:-([a-z]{3}))? (\d\d:\d\d)-(\d\d:\d\d)")


def calendar(*, zone: ZoneInfo, hours: str, closed: str) -> Calendar:
    """Build a calendar from settings such as "Mon-Fri 08:00-17:00, Sat 09:00-12:00" and "holidays, 2026-12-24".

    Raises Invalid for what cannot be read.
    """
    open_on: dict[int, tuple[time, time]] = {}
    for part in _parts(hours):
        open_on |= _open_days(part)
    if not open_on:
        raise Invalid({"hours": ["Name at least one day on which the clinic opens."]})
    words = _parts(closed)
    days = frozenset(_day(word) for word in words if word != "holidays")
    return Calendar(zone=zone, hours=open_on, closed=days, holidays="holidays" in words)


def _open_days(part: str) -> dict[int, tuple[time, time]]:
    """Read "mon-fri 08:00-17:00" or "sat 09:00-12:00" as weekday -> opening and closing time. Raises Invalid."""
    match = _SPAN.fullmatch(part)
    first, last = (match[1], match[2] or match[1]) if match else ("", "")
    if match is None or not {first, last} <= set(DAYS):
        raise Invalid({"hours": [f"“{part}” is not like “Mon-Fri 08:00-17:00”."]})
    opens, closes = _wall(match[3]), _wall(match[4])
    if opens >= closes:
        raise Invalid({"hours": [f"“{part}” closes before it opens."]})
    return dict.fromkeys(range(DAYS.index(first), DAYS.index(last) + 1), (opens, closes))


def _parts(text: str) -> list[str]:
    return [" ".join(part.split()).lower() for part in text.split(",") if part.strip()]


def _wall(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise Invalid({"hours": [f"“{text}” is not a time (HH:MM)."]}) from error


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Invalid({"closed": [f"“{text}” is not a date (YYYY-MM-DD)."]}) from error
