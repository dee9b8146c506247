"""Steps, periods and small cells of reports. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from crm.core.errors import Invalid
from crm.leads.rules import CONTACT_REQUEST, REFERRAL, UNTOUCHED

STEPS: Mapping[str, Sequence[str]] = {
    CONTACT_REQUEST: ("lead", "reached", "qualified", "booked", "attended", "patient"),
    REFERRAL: ("sent", "accepted", "scheduled", "attended", "returned"),
}
"""The steps of each kind of lead, in order; a lead that took one has taken all before it."""

STEP_OF_STAGE: Mapping[str, Mapping[str, int]] = {
    CONTACT_REQUEST: {"contacted": 1, "qualified": 2, "consult_scheduled": 3, "consult_done": 4, "patient": 5},
    REFERRAL: {
        "accepted": 1, "contacting": 1, "unable_to_reach": 1, "patient_declined": 1, "scheduled": 2, "no_show": 2,
        "cancelled": 2, "rescheduled": 2, "seen": 3, "report_sent": 3,
    },
}  # fmt: skip
BOOKED: Mapping[str, int] = {CONTACT_REQUEST: 3, REFERRAL: 2}
ATTENDED: Mapping[str, int] = {CONTACT_REQUEST: 4, REFERRAL: 3}
LEFT_OUT = ("spam", "duplicate", "entered_in_error")  # stages of what was no request for care
WAITS_FOR_US = (*sorted(UNTOUCHED), "received")
"""Stages before staff act: a deadline missed there is a late first answer."""
ON_THEIR_OWN = ("form", "api", "portal")
"""Sources by which leads come in without staff: only for these is the time to the first answer measured."""

SMALL = 5
SENSITIVE = frozenset({"language", "state"})
"""What a person is, not what the clinic did: small cells are not broken down by it."""


@dataclass(frozen=True, kw_only=True)
class Period:
    """Days of the clinic, both ends included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def before(self) -> "Period":
        """Return the equally long time that ends the day before."""
        return Period(first=self.first - timedelta(days=self.days), last=self.first - timedelta(days=1))


PERIODS = (7, 30, 90, 365)
DEFAULT_PERIOD = 90
LONGEST = 3700  # days


def period_from(asked: Mapping[str, str], *, today: date, default: int = DEFAULT_PERIOD) -> Period:
    """Return the period that an address names: `from` and `to`, or `period` days up to today. Raises Invalid."""
    if asked.get("from") or asked.get("to"):
        first, last = _day(asked, "from", today), _day(asked, "to", today)
        if first > last or (last - first).days > LONGEST:
            raise Invalid({"from": ["Choose a first day that is not after the last one."]})
        return Period(first=first, last=last)
    days = asked.get("period") or str(default)
    if days not in map(str, PERIODS):
        raise Invalid({"period": ["Choose one of the periods in the list."]})
    return Period(first=today - timedelta(days=int(days) - 1), last=today)


def _day(asked: Mapping[str, str], name: str, today: date) -> date:
    try:
        day = date.fromisoformat(asked.get(name) or today.isoformat())
    except ValueError as error:
        raise Invalid({name: ["Enter a day such as 2026-03-31."]}) from error
    if not 2000 <= day.year <= 2200:
        raise Invalid({name: ["Enter a day such as 2026-03-31."]})
    return day


RECENT, THIS_YEAR = timedelta(days=35), timedelta(days=400)
SLICE = 31  # days that are counted in one transaction


def recount_before(day: date, *, today: date, now: datetime) -> datetime:
    """Return the moment a day must have been counted after: recent days on every run, old ones every three days."""
    age = today - day
    if age <= RECENT:
        return now
    return now - (timedelta(hours=6) if age <= THIS_YEAR else timedelta(days=3))


def slices(days: Iterable[date]) -> list[Period]:
    """Return days as periods without gaps of at most `SLICE` days, the newest first."""
    found: list[Period] = []
    for day in sorted(set(days), reverse=True):
        if found and found[-1].first - day == timedelta(days=1) and found[-1].days < SLICE:
            found[-1] = Period(first=day, last=found[-1].last)
        else:
            found.append(Period(first=day, last=day))
    return found


def buckets(period: Period) -> list[Period]:
    """Return the days, weeks or months that a line over a period shows, in order: at most about sixty."""
    step = 1 if period.days <= 31 else 7 if period.days <= 400 else 30
    last = period.last
    found = []
    while last >= period.first:
        first = max(period.first, last - timedelta(days=step - 1))
        found.append(Period(first=first, last=last))
        last = first - timedelta(days=1)
    return found[::-1]


def median(counts: Mapping[int, int]) -> float | None:
    """Return the median of values that are given as value -> how often; None without any."""
    total = sum(counts.values())
    if not total:
        return None
    seen, middle = 0, []
    for value in sorted(counts):
        first, seen = seen, seen + counts[value]
        middle += [value for place in {(total - 1) // 2, total // 2} if first <= place < seen]
    return sum(middle) / len(middle)


WITHIN = (7, 30, 60, 90)
"""Days after which months of arrival are compared: every lead of a month has had as long."""


def whole_months(period: Period) -> Period:
    """Return a period from the first day of its first month."""
    return Period(first=period.first.replace(day=1), last=period.last)


def has_had(days: int, *, month: date, today: date) -> bool:
    """Tell whether the last lead of the month that begins on `month` has had as many days, those of today not counted."""
    next_month = (month + timedelta(days=32)).replace(day=1)
    return next_month + timedelta(days=days) <= today


def share(part: float | None, whole: float | None) -> int | None:
    """Return a part in whole percent; None without a whole."""
    return round(100 * part / whole) if part is not None and whole else None


def rate(part: int, whole: int) -> float:
    """Return a part of a whole, 0 without a whole."""
    return part / whole if whole else 0.0


def hide_small(column: Sequence[int]) -> list[int | None]:
    """Return a column of counts with those under five hidden (None), and one more where a single one could be inferred.

    A zero is shown: it is about nobody. With a total beside the column, one hidden cell is the total less the others.
    """
    hidden = {place for place, count in enumerate(column) if 0 < count < SMALL}
    if len(hidden) == 1:
        others = [place for place, count in enumerate(column) if count and place not in hidden]
        if others:
            hidden.add(min(others, key=lambda place: column[place]))
    return [None if place in hidden else count for place, count in enumerate(column)]
