"""The clinic's present day, which is not always that of UTC."""

from datetime import UTC, date, datetime

import pytest

from crm.core import clock as clocks


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 3, 4, 0, 48, tzinfo=UTC), date(2026, 3, 3)),  # 16:48 in Los Angeles
        (datetime(2026, 3, 4, 9, 0, tzinfo=UTC), date(2026, 3, 4)),
    ],
)
def test_today(edge, clock, moment, day):
    clock.move_to(moment)
    assert clocks.today() == day
