"""Send windows where people are: golden cases for both changes of the clock, nights, half hours, and people who move."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, text

from crm.core.db import db, transaction
from crm.messages.limits import switches
from crm.messages.limits.send_window import Window, into_window
from crm.sequences.models import Enrolment
from tests.messages.test_engine import deliver_all, enrolled, plan

EVERY = frozenset(range(7))
LA, LORD_HOWE = "America/Los_Angeles", "Australia/Lord_Howe"


def window(start: str, end: str, days: frozenset[int] = EVERY) -> Window:
    return Window(time.fromisoformat(start), time.fromisoformat(end), days)


@pytest.mark.parametrize(
    ("zone", "given", "moment", "expected"),
    [
        # the clock goes ahead on Sunday 8 March: 2:00 to 3:00 does not exist
        (LA, window("02:00", "02:45"), "2026-03-08 00:30", "2026-03-08 10:00Z"),  # the hole moves ahead whole
        (
            LA,
            window("02:30", "03:15"),
            "2026-03-08 00:30",
            "2026-03-09 09:30Z",
        ),  # nothing of it is left that day
        (LA, window("22:00", "02:30"), "2026-03-08 03:29", "2026-03-08 10:29Z"),  # ends at what 2:30 became
        (LA, window("22:00", "02:30"), "2026-03-08 03:30", "2026-03-09 05:00Z"),
        (LA, window("09:00", "17:00"), "2026-03-08 08:00", "2026-03-08 16:00Z"),
        # the clock goes back on Sunday 1 November: 1:00 to 2:00 comes twice
        (LA, window("01:00", "02:00"), "2026-11-01 00:00", "2026-11-01 08:00Z"),  # opens the first time
        (LA, window("01:00", "02:00"), "2026-11-01 09:30Z", "2026-11-01 09:30Z"),  # and is open the second
        (LA, window("01:00", "02:00"), "2026-11-01 10:00Z", "2026-11-02 09:00Z"),
        (LA, window("09:00", "17:00"), "2026-11-01 08:00", "2026-11-01 17:00Z"),
        # weekdays, and nights that belong to the day they begin on
        (LA, window("09:00", "17:00", frozenset({1})), "2026-03-03 17:00", "2026-03-10 16:00Z"),
        (LA, window("22:00", "06:00", frozenset({5})), "2026-03-08 05:59", "2026-03-08 12:59Z"),
        (LA, window("22:00", "06:00", frozenset({5})), "2026-03-08 06:00", "2026-03-15 05:00Z"),
        (LA, window("22:00", "06:00", frozenset({6})), "2026-03-08 05:00", "2026-03-09 05:00Z"),
        (LA, window("00:00", "23:59", frozenset({0})), "2026-03-08 23:59", "2026-03-09 07:00Z"),
        # half hours, quarters, and a clock that moves by half an hour
        ("Asia/Kolkata", window("09:00", "17:00"), "2026-03-03 01:00", "2026-03-03 03:30Z"),
        ("Asia/Kathmandu", window("09:00", "17:00"), "2026-03-03 18:00", "2026-03-04 03:15Z"),
        ("America/St_Johns", window("09:00", "17:00"), "2026-03-08 06:00", "2026-03-08 11:30Z"),
        (LORD_HOWE, window("09:00", "17:00"), "2026-04-04 18:00", "2026-04-04 22:30Z"),
        (LORD_HOWE, window("09:00", "17:00"), "2026-10-03 18:00", "2026-10-03 22:00Z"),
    ],
)
def test_golden(zone, given, moment, expected):
    there = ZoneInfo(zone)
    now = datetime.fromisoformat(moment)
    now = now if now.tzinfo else now.replace(tzinfo=there)
    assert into_window(now, given, there).astimezone(UTC) == datetime.fromisoformat(expected)


def test_the_window_follows_a_new_time_zone(outbox, app, clock):
    """Due at 9:00 in Los Angeles; by then they live in Honolulu, where it is 7:00."""
    enrolled()
    plan()
    deliver_all(app)
    with transaction():
        db.session.execute(text("update contact set time_zone = 'Pacific/Honolulu'"))
    due = db.session.scalar(select(Enrolment.due_at))
    clock.move_to(due)
    plan()
    later = db.session.scalar(select(Enrolment.due_at).execution_options(populate_existing=True))
    assert later.astimezone(ZoneInfo("Pacific/Honolulu")).time() >= time(8)
    assert later > due
    assert len(outbox.sent) == 1


def test_a_paced_step_waits_for_the_day(outbox, app, clock):
    enrolled()
    enrolled(email="ben@patients.example", language="es")
    plan()
    with transaction():
        switches.set_pace(per_minute=None, per_day=1, ramp_from=None, domains={})
    assert sorted(deliver_all(app)) == ["accepted", "nothing"]
    clock.move_to(
        datetime(2026, 3, 4, 6, tzinfo=UTC)
    )  # the next day in UTC, ten in the evening where they are
    assert deliver_all(app) == ["nothing"]
    assert len(outbox.sent) == 1
    clock.move_to(datetime(2026, 3, 4, 17, tzinfo=UTC))
    assert deliver_all(app) == ["accepted"]
