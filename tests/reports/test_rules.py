"""Periods, slices, and cells that are too small to show."""

import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.core.errors import Invalid
from crm.leads import rules as leads
from crm.reports import rules
from crm.reports.rules import Period

TODAY = date(2026, 3, 3)


def test_periods_come_from_the_address():
    assert rules.period_from({}, today=TODAY) == Period(first=date(2025, 12, 4), last=TODAY)
    assert rules.period_from({"period": "7"}, today=TODAY).days == 7
    chosen = rules.period_from({"from": "2026-01-01", "to": "2026-01-31"}, today=TODAY)
    assert (chosen.days, chosen.before()) == (31, Period(first=date(2025, 12, 1), last=date(2025, 12, 31)))
    assert rules.period_from({"from": "2026-03-01"}, today=TODAY).last == TODAY


@pytest.mark.parametrize(
    "asked",
    [
        {"period": "8"},
        {"from": "yesterday"},
        {"from": "2026-03-02", "to": "2026-03-01"},
        {"from": "2001-01-01", "to": "2026-01-01"},
        {"from": "0001-01-01", "to": "0001-01-02"},
    ],
)
def test_other_periods_are_refused(asked):
    with pytest.raises(Invalid):
        rules.period_from(asked, today=TODAY)


@given(st.sets(st.integers(0, 200)))
def test_slices_hold_each_day_once(numbers):
    days = {TODAY - timedelta(days=number) for number in numbers}
    found = rules.slices(days)
    held = [one.first + timedelta(days=place) for one in found for place in range(one.days)]
    assert sorted(held) == sorted(days)
    assert all(one.days <= rules.SLICE for one in found)
    assert found == sorted(found, key=lambda one: one.first, reverse=True)


@given(st.integers(1, 3000))
def test_buckets_cover_the_period(days):
    period = Period(first=TODAY - timedelta(days=days - 1), last=TODAY)
    found = rules.buckets(period)
    assert (found[0].first, found[-1].last) == (period.first, period.last)
    assert all(one.last + timedelta(days=1) == other.first for one, other in pairwise(found))
    assert len(found) <= 101


def test_recent_days_are_counted_each_time():
    now = datetime(2026, 3, 3, 17, tzinfo=UTC)
    ages = {0: timedelta(), 35: timedelta(), 36: timedelta(hours=6), 401: timedelta(days=3)}
    for age, back in ages.items():
        assert rules.recount_before(TODAY - timedelta(days=age), today=TODAY, now=now) == now - back


@given(st.lists(st.integers(0, 12), max_size=8))
def test_nobody_is_found_out_by_subtraction(column):
    shown = rules.hide_small(column)
    hidden = [count for count, seen in zip(column, shown, strict=True) if seen is None]
    assert all(seen is None or seen == 0 or seen >= rules.SMALL for seen in shown)
    others = [count for count in column if count and count not in hidden]
    assert len(hidden) != 1 or not others


def test_every_step_is_of_a_stage_that_exists():
    for kind, steps in rules.STEP_OF_STAGE.items():
        assert set(steps) <= set(leads.STAGES[kind])
        assert max(steps.values()) < len(rules.STEPS[kind])
    assert (set(rules.LEFT_OUT) | set(rules.WAITS_FOR_US)) <= set().union(*map(set, leads.STAGES.values()))


@pytest.mark.parametrize(
    ("month", "days", "today", "had"),
    [
        (
            date(2026, 1, 1),
            30,
            date(2026, 3, 2),
            False,
        ),  # January 31 and 30 days is March 2, which is not over
        (date(2026, 1, 1), 30, date(2026, 3, 3), True),
        (date(2026, 12, 1), 7, date(2027, 1, 7), False),
        (date(2026, 12, 1), 7, date(2027, 1, 8), True),
    ],
)
def test_a_month_is_compared_once_its_last_lead_has_had_as_long(month, days, today, had):
    assert rules.has_had(days, month=month, today=today) is had


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_the_median_of_counts_is_that_of_the_values(values):
    assert rules.median(Counter(values)) == statistics.median(values)
    assert rules.median({}) is None
