"""Tasks: when a repeated one is due next, and how long one is put off."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from crm.leads.tasks import rules as task_rules

ZONE = ZoneInfo("America/Los_Angeles")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


@pytest.mark.parametrize(
    ("due", "repeats", "now", "next_due"),
    [
        ("2026-03-02T09:00", "day", "2026-03-02T10:00", "2026-03-03T09:00"),
        (
            "2026-03-02T09:00",
            "day",
            "2026-03-05T10:00",
            "2026-03-06T09:00",
        ),  # late: the missed ones do not pile up
        ("2026-03-02T09:00", "week", "2026-03-01T10:00", "2026-03-09T09:00"),  # done before it was due
        (
            "2026-03-02T09:00",
            "week",
            "2026-03-02T10:00",
            "2026-03-09T09:00",
        ),  # over the change to summer time
        ("2026-03-02T09:00", "two_weeks", "2026-03-02T10:00", "2026-03-16T09:00"),
        ("2026-01-31T09:00", "month", "2026-01-31T10:00", "2026-02-28T09:00"),
        ("2026-01-31T09:00", "month", "2026-02-28T10:00", "2026-03-31T09:00"),  # not the 28th from now on
        ("2025-12-15T09:00", "month", "2025-12-01T10:00", "2026-01-15T09:00"),
    ],
)
def test_next_due(due, repeats, now, next_due):
    assert task_rules.next_due(at(due), repeats=repeats, now=at(now), zone=ZONE) == at(next_due)


@pytest.mark.parametrize(
    ("code", "until"),
    [("hour", "2026-03-02T16:00"), ("tomorrow", "2026-03-03T09:00"), ("week", "2026-03-09T09:00")],
)
def test_snooze(code, until):
    given = {"due_at": at("2026-02-20T09:00"), "now": at("2026-03-02T15:00"), "zone": ZONE}
    assert task_rules.snoozed_until(code, **given) == at(until)
