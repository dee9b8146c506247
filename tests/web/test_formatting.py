"""Formatting of times and numbers."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from crm.web import formatting

AT = datetime(2026, 3, 3, 17, 5, tzinfo=UTC)
PACIFIC, EASTERN = ZoneInfo("America/Los_Angeles"), ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("style", "language", "said"),
    [
        ("short", "en", "Mar 3, 9:05 AM"),
        ("day", "en", "Mar 3, 2026"),
        ("time", "en", "9:05 AM"),
        ("full", "en", "Tuesday, March 3, 2026, 9:05 AM"),
        ("ago", "en", "2 hours ago"),
        ("short", "es", "3 mar, 09:05"),
        ("full", "es", "martes 3 de marzo de 2026, 09:05"),
        ("ago", "es", "hace 2 horas"),
    ],
)
def test_times_are_the_readers(style, language, said):
    now = datetime(2026, 3, 3, 19, 5, tzinfo=UTC)
    assert formatting.local(AT, zone=PACIFIC, now=now, style=style, language=language) == said


def test_a_time_of_another_year_says_the_year():
    now = datetime(2027, 1, 1, 12, tzinfo=UTC)
    assert formatting.local(AT, zone=PACIFIC, now=now) == "Mar 3, 2026, 9:05 AM"


@pytest.mark.parametrize(
    ("theirs", "language", "said"),
    [
        (None, "en", "Tuesday, March 3, 2026, 9:05 AM (PST)"),
        ("America/Tijuana", "en", "Tuesday, March 3, 2026, 9:05 AM (PST)"),
        ("America/Denver", "en", "Tuesday, March 3, 2026, 9:05 AM (PST); Tuesday 10:05 AM in Denver"),
        ("America/New_York", "es", "martes 3 de marzo de 2026, 09:05 (PST); martes 12:05 en New York"),
    ],
)
def test_time_of_the_person(theirs, language, said):
    assert formatting.spoken(AT, zone=PACIFIC, theirs=theirs, language=language) == said


def test_daylight_saving_follows_the_zone():
    july = datetime(2026, 7, 1, 17, 5, tzinfo=UTC)
    assert formatting.local(july, zone=EASTERN, now=july) == "Jul 1, 1:05 PM"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12430, "12,430"), (0, "0"), (2.5, "2.5"), (None, "–"), ("", "–"), ("74%", "74%"), (True, "True")],
)
def test_numbers(value, shown):
    assert formatting.thousands(value) == shown


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("+15550100180", "(555) 010-0180"),
        ("+525512345678", "+52 55 1234 5678"),
        ("call me", "call me"),
        (None, ""),
    ],
)
def test_phone_numbers(stored, shown):
    assert formatting.phone(stored) == shown


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (1, 1), (3, 4), (48, 50), (51, 100), (100, 100), (101, 200), (999_999, 1_000_000)],
)
def test_chart_ceiling(value, top):
    assert formatting.nice_ceiling(value) == top
