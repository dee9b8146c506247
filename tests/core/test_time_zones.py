"""Time zones: Python and PostgreSQL know the same names and mean the same by them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from sqlalchemy import text

from crm.contacts.rules import STATE_ZONES
from crm.core import time_zones
from crm.core.db import db

START = datetime(
    2016, 1, 1, tzinfo=UTC
)  # ten settled years; laws of the last months reach the two at different times


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("America/Los_Angeles", "America/Los_Angeles"), ("US/Pacific", "America/Los_Angeles"),
        (" US/Pacific ", "America/Los_Angeles"),
        ("Etc/UTC", "UTC"), ("UTC", "UTC"), ("localtime", None), ("Factory", None), ("EST5EDT", "America/New_York"), ("", None),
        ("posix/UTC", None), ("Etc/GMT+8", None), ("America/Los_Angeles; drop table", None), ("XYZ+3", None),
    ],
)  # fmt: skip
def test_canonical(given, stored):
    assert time_zones.canonical(given) == stored


def test_python_names_are_stored_or_refused():
    for name in available_timezones():
        assert time_zones.canonical(name) in time_zones.NAMES | {None}
    assert set(STATE_ZONES.values()) <= time_zones.NAMES


def test_python_knows_every_name():
    assert {ZoneInfo(name).key for name in time_zones.NAMES} == time_zones.NAMES
    for old, name in time_zones.ALIASES.items():
        moment = datetime(2026, 7, 1, tzinfo=UTC)
        assert (
            moment.astimezone(ZoneInfo(old)).utcoffset() == moment.astimezone(ZoneInfo(name)).utcoffset()
        ), old


def test_postgresql_knows_every_zone(database):
    moments = [START + timedelta(days=30 * step, hours=step) for step in range(100)]
    rows = db.session.execute(
        text("""
            select z as zone, m as at, m at time zone z as local
            from unnest(cast(:zones as text[])) z, unnest(cast(:moments as timestamptz[])) m
        """),
        {"zones": sorted(time_zones.NAMES), "moments": moments},
    ).all()
    assert len(rows) == len(moments) * len(time_zones.NAMES)
    wrong = {
        row.zone for row in rows if row.at.astimezone(ZoneInfo(row.zone)).replace(tzinfo=None) != row.local
    }
    assert wrong == set()


def test_the_table_holds_the_names(database):
    assert set(db.session.scalars(text("select name from time_zone"))) == time_zones.NAMES


def test_unknown_zone_is_the_fallback():
    assert time_zones.zone_info("localtime", fallback="America/Denver") == ZoneInfo("America/Denver")
    assert time_zones.zone_info("US/Pacific") == ZoneInfo("America/Los_Angeles")
