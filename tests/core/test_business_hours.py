"""Opening hours, compared with counting minute by minute, over daylight saving and holidays."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from crm.core import business_hours
from crm.core.business_hours import Calendar
from crm.core.errors import Invalid
from tests.support.calendars import LA, OFFICE

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=LA).astimezone(UTC)


@pytest.mark.parametrize(
    ("since", "within", "due"),
    [
        ("2026-03-03 09:00", HOUR, "2026-03-03 10:00"),
        ("2026-03-03 16:30", HOUR, "2026-03-04 08:30"),
        ("2026-03-03 16:00", HOUR, "2026-03-03 17:00"),  # the last minute still counts
        ("2026-03-03 03:00", HOUR, "2026-03-03 09:00"),
        ("2026-03-06 16:45", HOUR, "2026-03-09 08:45"),  # over the weekend on which summer time begins
        ("2026-10-30 16:45", HOUR, "2026-11-02 08:45"),  # and ends
        ("2026-11-25 16:30", HOUR, "2026-11-27 08:30"),  # Thanksgiving
        ("2026-07-02 16:30", HOUR, "2026-07-06 08:30"),  # the Fourth on a Saturday is kept on Friday
        ("2027-12-30 16:30", HOUR, "2028-01-03 08:30"),  # New Year's Day of the next year, kept in this one
        ("2026-03-03 09:00", DAY, "2026-03-04 09:00"),
        ("2026-03-06 16:00", DAY, "2026-03-09 16:00"),
        ("2026-03-06 18:00", DAY, "2026-03-10 08:00"),  # Friday night is Monday morning
        ("2026-12-24 10:00", 2 * DAY, "2026-12-29 10:00"),
    ],
)
def test_when_time_is_up(since, within, due):
    assert OFFICE.after(local(since), within) == local(due)


def test_saturday_with_shorter_hours():
    week = business_hours.calendar(zone=LA, hours="Mon-Fri 08:00-17:00, Sat 09:00-12:00", closed="2026-03-09")
    assert week.add_days(local("2026-03-06 15:00"), 1) == local("2026-03-07 12:00")
    assert week.add_days(local("2026-03-07 11:00"), 1) == local("2026-03-10 11:00")
    assert week.add_days(local("2026-03-05 08:00"), 2) == local("2026-03-07 09:00")


moments = some.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 10), timezones=some.just(UTC)).map(
    lambda moment: moment.replace(second=0, microsecond=0)
)
calendars = some.builds(
    Calendar,
    zone=some.sampled_from([LA, ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Honolulu")]),
    hours=some.dictionaries(
        some.integers(0, 6),
        some.sampled_from([(time(8), time(17)), (time(0), time(23, 59)), (time(1), time(3)), (time(9), time(9, 30))]),
        min_size=1,
    ),
    closed=some.frozensets(some.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=5),
    holidays=some.booleans(),
)  # fmt: skip


def is_open(calendar: Calendar, minute: datetime) -> bool:
    there = minute.astimezone(calendar.zone)
    span = calendar.opening(there.date())
    return span is not None and span[0] <= minute < span[1]


@settings(max_examples=60, deadline=None)
@given(calendar=calendars, since=moments, minutes=some.integers(1, 300))
def test_adding_time_is_counting_open_minutes(calendar, since, minutes):
    due = calendar.add_time(since, minutes * MINUTE)
    at, left = since, minutes
    while left and at <= due + DAY:
        left -= is_open(calendar, at)
        at += MINUTE
    assert at == due


@settings(max_examples=60, deadline=None)
@given(calendar=calendars, since=moments, length=some.integers(0, 4000))
def test_time_between_is_counting_open_minutes(calendar, since, length):
    counted = sum(is_open(calendar, since + n * MINUTE) for n in range(length))
    assert calendar.between(since, since + length * MINUTE) == counted * MINUTE
    assert calendar.between(since + length * MINUTE, since) == timedelta()


@settings(max_examples=100, deadline=None)
@given(calendar=calendars, since=moments, minutes=some.integers(1, 2000))
def test_what_was_added_lies_between(calendar, since, minutes):
    assert calendar.between(since, calendar.add_time(since, minutes * MINUTE)) == minutes * MINUTE


@settings(max_examples=100, deadline=None)
@given(calendar=calendars, since=moments, count=some.integers(1, 6))
def test_so_many_open_days_later(calendar, since, count):
    due = calendar.add_days(since, count)
    start = calendar.add_time(since, timedelta())
    day, seen = start.astimezone(calendar.zone).date(), 0
    while seen < count:
        day += DAY
        seen += calendar.opening(day) is not None
    opens, closes = calendar.opening(day)
    assert opens <= due <= closes


def test_the_seven_holidays():
    assert business_hours.holidays_of(2026) == {
        date(2026, 1, 1), date(2026, 5, 25), date(2026, 6, 19), date(2026, 7, 3), date(2026, 9, 7),
        date(2026, 11, 26), date(2026, 12, 25),
    }  # fmt: skip
    assert date(2027, 12, 31) in business_hours.holidays_of(2027)
    assert not any(day.month == 1 for day in business_hours.holidays_of(2028))


@pytest.mark.parametrize(
    ("hours", "closed"),
    [("", ""), ("Monday 8-17", ""), ("Xxx 08:00-17:00", ""), ("Mon 17:00-08:00", ""), ("Mon 25:00-26:00", ""),
     ("Fri-Mon 08:00-17:00", ""), ("Mon 08:00-17:00", "Christmas"), ("Mon 08:00-17:00", "2026-13-01")],
)  # fmt: skip
def test_settings_that_cannot_be_read(hours, closed):
    with pytest.raises(Invalid):
        business_hours.calendar(zone=LA, hours=hours, closed=closed)


def test_a_clinic_that_never_opens():
    never = Calendar(
        zone=LA,
        hours={0: (time(8), time(9))},
        closed=frozenset(date(2026, 1, 5) + n * DAY for n in range(900)),
    )
    with pytest.raises(ValueError, match="No opening in the next 800 days"):
        never.add_time(datetime(2026, 1, 5, tzinfo=UTC), HOUR)
