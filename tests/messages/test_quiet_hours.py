"""Quiet hours where people are: golden cases around both changes of the clock, the same in Python and in SQL."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crm.core.db import db
from crm.messages.limits import quiet_hours

ZONES = (
    "America/Los_Angeles", "America/Phoenix", "America/St_Johns", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide",
    "Australia/Lord_Howe", "Europe/Madrid", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Honolulu", "UTC",
)  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "moment", "until"),
    [
        ("America/Los_Angeles", "2026-03-03 08:00", None),
        ("America/Los_Angeles", "2026-03-03 07:59:59", "2026-03-03 08:00"),
        ("America/Los_Angeles", "2026-03-03 19:59:59", None),
        ("America/Los_Angeles", "2026-03-03 20:00", "2026-03-04 08:00"),
        (
            "America/Los_Angeles",
            "2026-03-07 21:00",
            "2026-03-08 08:00",
        ),  # a night of 10 hours: the clock goes ahead
        ("America/Los_Angeles", "2026-03-08 01:59", "2026-03-08 08:00"),
        ("America/Los_Angeles", "2026-10-31 21:00", "2026-11-01 08:00"),  # a night of 12
        ("America/Los_Angeles", "2026-12-31 23:00", "2027-01-01 08:00"),
        ("America/Phoenix", "2026-03-08 07:30", "2026-03-08 08:00"),  # no summer time
        ("America/St_Johns", "2026-03-08 00:30", "2026-03-08 08:00"),  # three and a half hours behind UTC
        ("Asia/Kolkata", "2026-03-03 19:30", None),
        ("Asia/Kolkata", "2026-03-03 20:30", "2026-03-04 08:00"),
        ("Asia/Kathmandu", "2026-03-03 07:45", "2026-03-03 08:00"),  # and a quarter
        ("Australia/Lord_Howe", "2026-04-04 21:00", "2026-04-05 08:00"),  # its clock moves by half an hour
        ("Europe/Madrid", "2026-03-28 22:00", "2026-03-29 08:00"),
    ],
)
def test_the_night_ends_at_eight_where_they_are(zone, moment, until):
    there = ZoneInfo(zone)
    now = datetime.fromisoformat(moment).replace(tzinfo=there).astimezone(UTC)
    expected = datetime.fromisoformat(until).replace(tzinfo=there) if until else None
    assert quiet_hours.quiet_until(now, there) == expected


_SQL = text(
    f"select {quiet_hours.is_day('z')} as day, {quiet_hours.opens('z')} as opens from unnest(cast(:zones as text[])) z"
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)))
@example(now=datetime(2026, 3, 8, 9, 59, 59, 999_999, tzinfo=UTC))
@example(now=datetime(2026, 11, 1, 8, 30, tzinfo=UTC))
@example(now=datetime(2026, 4, 4, 15, 15, tzinfo=UTC))
def test_python_and_sql_agree(database, now):
    found = db.session.execute(_SQL, {"zones": list(ZONES), "now": now}).all()
    for zone, row in zip(ZONES, found, strict=True):
        until = quiet_hours.quiet_until(now, ZoneInfo(zone))
        assert (row.day, row.opens) == (until is None, until), zone
        assert until is None or timedelta() < until - now <= timedelta(hours=13)
