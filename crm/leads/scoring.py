"""Lead score: a sum that shows its parts. It only orders work among equals.

Only what a person did or asked counts: never age, language, insurance or anything about health.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

FRESH, COOLING = timedelta(days=2), timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class LeadFacts:
    """The facts about a lead that earn points."""

    kind: str
    urgency: str | None
    created_at: datetime
    has_phone: bool
    has_email: bool
    has_message: bool
    heard_from: str | None
    has_consent: bool
    reached: bool
    attempts: int
    booked: bool
    missed: bool


@dataclass(frozen=True, kw_only=True)
class ScorePart:
    """One part of a score and its reason."""

    points: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """The sum, from 0 to 100, and its parts."""

    total: int
    parts: tuple[ScorePart, ...]


def score(known: LeadFacts, *, now: datetime) -> Score:
    """Return the score of a lead."""
    age = now - known.created_at
    asked: Mapping[tuple[int, str], bool] = {
        (30, "A clinician referred them"): known.kind == "referral",
        (15, "The referral is urgent"): known.urgency == "urgent",
        (10, "Heard about us from a doctor or a friend"): known.kind != "referral"
        and known.heard_from in ("doctor", "friend"),
        (10, "Wrote a message"): known.has_message,
        (10, "Left a phone number"): known.has_phone,
        (5, "Left an email address"): known.has_email,
        (15, "Confirmed emails from their own mailbox"): known.has_consent,
        (15, "Spoke with them"): known.reached,
        (20, "A consultation is booked"): known.booked,
        (10, "Received within the last two days"): age < FRESH,
        (-10, "Received more than a month ago"): age > COOLING and not known.booked,
        (-10, "Missed a consultation"): known.missed,
        (-15, "Three or more attempts without contact"): known.attempts >= 3 and not known.reached,
    }
    parts = tuple(ScorePart(points=points, why=why) for (points, why), holds in asked.items() if holds)
    return Score(total=max(0, min(100, sum(part.points for part in parts))), parts=parts)
