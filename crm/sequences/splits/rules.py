"""What the booked consultations of the two ways of a split show. Pure.

The interval of the difference is Newcombe's, from the Wilson intervals of both shares: it holds for small shares and
small numbers. It is a 99 % interval because people look at it more than once while it grows.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.99
MIN_PEOPLE = 100  # of each way
MIN_BOOKED = 10  # of both ways together


@dataclass(frozen=True)
class Way:
    """The people of one way, and how many of them booked a consultation afterwards."""

    people: int = 0
    booked: int = 0


class Verdict(StrEnum):
    """What a comparison shows."""

    NOT_ENOUGH = "not_enough"
    NO_DIFFERENCE = "no_difference"  # the interval holds zero
    A = "a"  # books more
    B = "b"


@dataclass(frozen=True)
class Comparison:
    """The two ways of a split. `low` and `high`: the interval of A's share minus B's; None without enough data."""

    a: Way
    b: Way
    verdict: Verdict
    low: float | None = None
    high: float | None = None


def compare(a: Way, b: Way) -> Comparison:
    """Compare the shares of people who booked."""
    if min(a.people, b.people) < MIN_PEOPLE or a.booked + b.booked < MIN_BOOKED:
        return Comparison(a, b, Verdict.NOT_ENOUGH)
    low, high = difference(a, b)
    verdict = Verdict.A if low > 0 else Verdict.B if high < 0 else Verdict.NO_DIFFERENCE
    return Comparison(a, b, verdict, low, high)


def difference(a: Way, b: Way, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of A's share of booked people minus B's."""
    width = NormalDist().inv_cdf((1 + confidence) / 2)
    (low_a, high_a), (low_b, high_b) = _wilson(a, width), _wilson(b, width)
    share_a, share_b = a.booked / a.people, b.booked / b.people
    between = share_a - share_b
    low = between - sqrt((share_a - low_a) ** 2 + (high_b - share_b) ** 2)
    high = between + sqrt((high_a - share_a) ** 2 + (share_b - low_b) ** 2)
    return low, high


def _wilson(way: Way, width: float) -> tuple[float, float]:
    share, people, square = way.booked / way.people, way.people, width * width
    middle = (share + square / (2 * people)) / (1 + square / people)
    half = width * sqrt(share * (1 - share) / people + square / (4 * people * people)) / (1 + square / people)
    return middle - half, middle + half
