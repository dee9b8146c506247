"""Contact attempts: channels, outcomes, and when enough attempts were made to give up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict
from crm.leads.models import Call, Lead

CHANNELS = {"phone": "Phone call", "text": "Text message", "email": "Email", "letter": "Letter"}
OUTCOMES = {
    "reached": "Spoke to the person",
    "callback": "Asked for a callback",
    "no_answer": "No answer",
    "voicemail": "Left a voicemail",
    "sent": "Sent, no answer yet",
    "wrong_number": "Wrong number or address",
}
REACHED = frozenset({"reached", "callback"})

LEAST_ATTEMPTS, LEAST_CHANNELS, LEAST_TIME = 3, 2, timedelta(days=7)
GIVEN_UP = frozenset({("contact_request", "lost"), ("referral", "unable_to_reach")})


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt: time, channel and outcome."""

    at: datetime
    channel: str
    outcome: str


def missing_attempts(attempts: Sequence[Attempt], *, now: datetime) -> str | None:
    """Return what is missing before a person counts as unreachable; None if nothing is.

    Enough is three attempts through two channels, the first a week ago. Contact with the person resets the count.
    """
    last = max((index for index, one in enumerate(attempts) if one.outcome in REACHED), default=-1)
    tried = attempts[last + 1 :]
    missing = []
    if len(tried) < LEAST_ATTEMPTS:
        missing.append(f"{LEAST_ATTEMPTS} attempts (so far {len(tried)})")
    if len({one.channel for one in tried}) < LEAST_CHANNELS:
        missing.append(f"{LEAST_CHANNELS} channels, such as phone and letter")
    if not tried or now - tried[0].at < LEAST_TIME:
        missing.append(f"{LEAST_TIME.days} days since the first attempt")
    return f"Needed before closing as unreachable: {'; '.join(missing)}." if missing else None


def attempts_of(lead_id: int) -> list[Attempt]:
    """Return the attempts of a lead, oldest first."""
    rows = select(Call.at, Call.channel, Call.outcome).where(Call.lead_id == lead_id)
    found = db.session.execute(rows.order_by(Call.at, Call.id)).all()
    return [Attempt(at=row.at, channel=row.channel, outcome=row.outcome) for row in found]


def attempts_by_lead(lead_ids: Sequence[int]) -> dict[int, list[Attempt]]:
    """Return the attempts of several leads by lead id, in one statement; no entry for leads without attempts."""
    rows = select(Call.lead_id, Call.at, Call.channel, Call.outcome).where(Call.lead_id.in_(lead_ids))
    found: dict[int, list[Attempt]] = {}
    for row in db.session.execute(rows.order_by(Call.at, Call.id)):
        found.setdefault(row.lead_id, []).append(Attempt(at=row.at, channel=row.channel, outcome=row.outcome))
    return found


def _gives_up(lead: Lead, *, to: str, reason: str | None) -> bool:
    return (lead.kind, to) in GIVEN_UP and (to != "lost" or reason in ("no_answer", "wrong_number"))


def too_early_to_give_up(lead: Lead, *, to: str, reason: str | None, made: Sequence[Attempt]) -> str | None:
    """Return why a move would close a lead as unreachable too early; None if it would not.

    A wrong number needs one logged attempt that found it.
    """
    if not _gives_up(lead, to=to, reason=reason):
        return None
    if reason == "wrong_number":
        found_out = any(one.outcome == "wrong_number" for one in made)
        return None if found_out else "First log the attempt that found the wrong number."
    return missing_attempts(made, now=clock.now())


def check_giving_up(lead: Lead, *, to: str, reason: str | None) -> None:
    """Raise Conflict if this move closes a lead as unreachable too early."""
    if not _gives_up(lead, to=to, reason=reason):
        return
    why_not = too_early_to_give_up(lead, to=to, reason=reason, made=attempts_of(lead.id))
    if why_not is not None:
        raise Conflict(why_not)
