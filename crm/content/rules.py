"""Who may let content out, until when, and what stands against it. Pure.

Two people look at every text before it leaves: one for what it says about health, one for what the law says about
advertising it. Neither wrote it. An approval is valid for exactly the bytes they saw, for at most twelve months.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

CLINICAL, COMPLIANCE = "clinical", "compliance"
KINDS = (CLINICAL, COMPLIANCE)

REVIEWERS: Mapping[str, frozenset[str]] = {
    CLINICAL: frozenset({"admin", "clinician"}),
    COMPLIANCE: frozenset({"admin", "marketer"}),
}
"""Which roles may give which approval."""

LONGEST = timedelta(days=365)
MONTHS: Mapping[int, timedelta] = {12: LONGEST, 6: timedelta(days=182), 3: timedelta(days=91)}
"""How long an approval may be given for."""

REMIND = (timedelta(days=30), timedelta(days=7), timedelta(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A request to approve a version. `given` maps each kind to the reviewer who approved exactly these bytes."""

    state: str
    author: str
    actor: str
    roles: Collection[str]
    kind: str
    given: Mapping[str, str]
    changed: bool  # the text, a block or the layout changed since it was submitted
    blocked: bool  # the claims check found something that may not go out
    open_questions: int = 0  # sentences that the claims check asks about, and no reviewer has cleared
    unauthorized: str | None = None  # why the patient's words in it may not be printed
    reviewers: int  # how many people this clinic has for it: 1 or 2


def approval_problem(asked: ApprovalRequest) -> str | None:
    """Return why this approval cannot be given, in words for who asked; None when it can."""
    return person_problem(asked) or _text_problem(asked)


def person_problem(asked: ApprovalRequest) -> str | None:
    """Return why this person cannot give this approval, whatever the text says."""
    if asked.kind not in KINDS:
        return "Choose the clinical or the compliance approval."
    if asked.state != "in_review":
        return "This version is not in review."
    if asked.actor == asked.author:
        return "You wrote this version, so another person has to approve it."
    if REVIEWERS[asked.kind].isdisjoint(asked.roles):
        return f"Your role cannot give the {asked.kind} approval."
    if asked.kind not in approvals_needed(asked.reviewers):
        return "This clinic has one reviewer. The clinical approval is enough."
    if asked.kind in asked.given:
        return f"The {asked.kind} approval is already given."
    if asked.actor in asked.given.values():
        return "You gave the other approval. A second person has to give this one."
    return None


def _text_problem(asked: ApprovalRequest) -> str | None:
    """Return what in the text itself stands against an approval."""
    if asked.changed:
        return "The text, a block in it or the layout changed after it was submitted. Submit it again."
    if asked.blocked:
        return "The claims check found problems. Fix them first."
    if asked.open_questions:
        return "The claims check asks about sentences. Answer each of them first."
    return asked.unauthorized


def is_unfinished(text: str) -> bool:
    """Tell whether a line is still the ellipsis that a blank text begins with."""
    return any(line.strip() in ("…", "...") for line in text.splitlines())


def approvals_needed(reviewers: int) -> tuple[str, ...]:
    """Return the approvals a version needs. With one reviewer it is the clinical one, still never the author's."""
    return KINDS if reviewers > 1 else (CLINICAL,)


def is_complete(given: Collection[str], *, reviewers: int) -> bool:
    """Tell whether all approvals are there."""
    return set(approvals_needed(reviewers)) <= set(given)


def expiry(now: datetime, *, months: int) -> datetime:
    """Return when an approval given now ends; anything but 12, 6 or 3 months counts as 12."""
    return now + MONTHS.get(months, LONGEST)


def status(
    state: str,
    *,
    changed: bool,
    expires_at: datetime | None,
    superseded: bool,
    now: datetime,
    older_block: bool = False,
) -> str:
    """Return what a version is worth today: its state or, once approved, void, expired, superseded, outdated or expiring.

    Outdated: it is sent with a block that has a newer version (`older_block`).
    """
    if state != "approved":
        return state
    if superseded:
        return "superseded"
    if changed:
        return "void"
    if expires_at is not None and expires_at <= now:
        return "expired"
    if older_block:
        return "outdated"
    return "expiring" if expires_at is not None and expires_at - now <= REMIND[0] else "approved"


def reminder_due(expires_at: datetime | None, *, now: datetime) -> int | None:
    """Return the mark an approval has passed on its way out: 30 or 7 days, 0 when it has ended; None before that."""
    if expires_at is None:
        return None
    passed = [mark.days for mark in REMIND if expires_at - now <= mark]
    return min(passed) if passed else None
