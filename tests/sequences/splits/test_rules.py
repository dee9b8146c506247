"""What the ways of a split show: not enough data, no difference, and a difference."""

from math import comb

import pytest

from crm.sequences.splits.rules import Verdict, Way, compare, difference


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (Way(), Way(), Verdict.NOT_ENOUGH),
        (Way(99, 90), Way(5_000, 10), Verdict.NOT_ENOUGH),  # too few people in one way
        (Way(5_000, 9), Way(5_000, 0), Verdict.NOT_ENOUGH),  # too few bookings
        (Way(500, 20), Way(500, 12), Verdict.NO_DIFFERENCE),  # 4.0 % and 2.4 %: chance can do that
        (Way(5_000, 200), Way(5_000, 120), Verdict.A),
        (Way(5_000, 120), Way(5_000, 200), Verdict.B),
        (Way(100, 0), Way(100, 100), Verdict.B),
    ],
)
def test_verdict(a, b, verdict):
    found = compare(a, b)
    assert found.verdict is verdict
    assert (found.low is None) == (verdict is Verdict.NOT_ENOUGH)


def test_the_interval_is_newcombes():
    """The example of Newcombe's paper of 1998, 56 of 70 and 48 of 80 (his method 10)."""
    interval = difference(Way(70, 56), Way(80, 48), confidence=0.95)
    assert interval == pytest.approx((0.0524, 0.3339), abs=0.0001)
    turned = difference(Way(80, 48), Way(70, 56), confidence=0.95)
    assert turned == pytest.approx((-interval[1], -interval[0]))


def test_two_equal_ways_are_seldom_called_different():
    """A/A: of all results of two ways with the same chance to book, at most one in a hundred names a difference."""
    people, chance = 300, 0.1
    weight = [chance_of(booked, people, chance) for booked in range(people + 1)]
    wrong = sum(
        weight[a] * weight[b]
        for a in range(5, 65)
        for b in range(5, 65)
        if compare(Way(people, a), Way(people, b)).verdict in (Verdict.A, Verdict.B)
    )
    assert wrong < 0.01


def chance_of(booked: int, people: int, chance: float) -> float:
    return comb(people, booked) * chance**booked * (1 - chance) ** (people - booked)
