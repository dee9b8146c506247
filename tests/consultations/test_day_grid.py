"""Day grid: the hours that are shown, where an item stands, which hours are open."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from crm.consultations import day_grid
from crm.consultations.day_grid import Column
from crm.core import business_hours

CALENDAR = business_hours.calendar(
    zone=ZoneInfo("America/Los_Angeles"), hours="mon-fri 08:30-17:00, sat 09:00-12:00", closed="2026-03-05"
)
MONDAY = date(2026, 3, 2)


@dataclass
class Visit:
    starts_at: datetime


@pytest.mark.parametrize(
    ("day", "at", "hours", "open_hours"),
    [
        (0, None, (8, 16), (8, 16)),
        (0, datetime(2026, 3, 3, 3, 15, tzinfo=UTC), (8, 19), (8, 16)),  # 19:15 there
        (5, None, (9, 11), (9, 11)),
        (3, None, (8, 16), None),  # closed
        (3, datetime(2026, 3, 5, 14, 0, tzinfo=UTC), (6, 6), None),
    ],
)
def test_hours(day, at, hours, open_hours):
    items = [Visit(at)] if at else []
    rows = day_grid.rows(
        [Column(heading="x", day=MONDAY + timedelta(days=day), items=items)], calendar=CALENDAR
    )
    assert (rows[0].hour.hour, rows[-1].hour.hour) == hours
    opened = [row.hour.hour for row in rows if row.cells[0].is_open]
    assert ((opened[0], opened[-1]) if opened else None) == open_hours
    assert [item for row in rows for item in row.cells[0].items] == items


def test_days():
    def shown(*busy):
        return day_grid.days_shown(MONDAY, calendar=CALENDAR, busy=frozenset(busy))

    assert len(shown()) == 6
    assert shown(MONDAY + timedelta(days=6))[-1] == MONDAY + timedelta(days=6)
