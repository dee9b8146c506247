"""How promising a lead is, as a sum that shows its parts. It orders work among equals and decides nothing else.

Only what a person did or asked counts: never age, language, insurance or anything about health.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

FRESH, COOLING = timedelta(days=2), timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class LeadFacts:
    """What is known about a lead, as far as points are given for it."""

    kind: str
    urgency: str | None
    created_at: datetime
    has_phone: bool
    has_email: bool
    has_message: bool
    heard_from: str | None
    said_yes: bool
    reached: bool
    attempts: int
    booked: bool
    missed: bool


@dataclass(frozen=True, kw_only=True)
class ScorePart:
    """One part of a score: how much, and why."""

    points: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """The sum, from 0 to 100, and its parts."""

    total: int
    parts: tuple[ScorePart, ...]


def score(known: LeadFacts, *, now: datetime) -> Score:
    """Add up what speaks for and against a lead."""
    age = now - known.created_at
    asked: Mapping[tuple[int, str], bool] = {
        (30, "A clinician referred them"): known.kind == "referral",
        (15, "The referral is urgent"): known.urgency == "urgent",
        (10, "Heard of us from a doctor or a friend"): known.kind != "referral"
        and known.heard_from in ("doctor", "friend"),
        (10, "Wrote a message"): known.has_message,
        (10, "Left a phone number"): known.has_phone,
        (5, "Left an email address"): known.has_email,
        (15, "Said yes to emails from their own mailbox"): known.said_yes,
        (15, "We have spoken to them"): known.reached,
        (20, "A consultation is booked"): known.booked,
        (10, "Came in within the last two days"): age < FRESH,
        (-10, "Came in more than a month ago"): age > COOLING and not known.booked,
        (-10, "Missed a consultation"): known.missed,
        (-15, "Three or more attempts reached nobody"): known.attempts >= 3 and not known.reached,
    }
    parts = tuple(ScorePart(points=points, why=why) for (points, why), holds in asked.items() if holds)
    return Score(total=max(0, min(100, sum(part.points for part in parts))), parts=parts)
