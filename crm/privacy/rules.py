"""Erasure: what it deletes, what it keeps, and when it is refused. And how long records are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

REASONS: Mapping[str, str] = {
    "asked": "The person asked for it",
    "guardian": "A parent or guardian asked for it",
    "mistake": "The record was created by mistake",
    "law": "A law or an authority requires it",
    "retention": "The retention period is over",
}
NAME = "Erased"  # what the record is called afterwards

GOES: Sequence[str] = (
    "name, email address, phone number, birth date, state and time zone",
    "what they wrote, notes, call notes, titles of tasks, tags",
    "reason for the referral, guardian, messages with the practice, files",
    "personal details in emails, and replies of mail servers",
)
STAYS: Sequence[str] = (
    "the block on marketing email to this address, as a keyed hash that does not reveal the address",
    "consent and opt-outs with their times and wordings, as evidence",
    "the timeline as times and kinds of events, without text",
    "which emails were sent when, without their content",
)

CARE_STAGES = frozenset({"patient", "consult_done", "seen", "report_sent"})


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts that decide whether a person may be erased."""

    kinds: Sequence[str] = ()  # of their leads
    stages: Sequence[str] = ()
    open_referral: bool = False
    has_account: bool = False
    on_hold: bool = False


def care(facts: Facts) -> bool:
    """Tell whether the person was referred or cared for: medical record laws may require keeping the record."""
    return "referral" in facts.kinds or not CARE_STAGES.isdisjoint(facts.stages)


def refused(facts: Facts, *, despite_care: bool) -> str | None:
    """Return why a person cannot be erased now; None if they can."""
    if facts.on_hold:
        return "A legal hold applies to this person. Lift it first, on the page Retention."
    if facts.has_account:
        return "This is a portal user of a practice. Close their account first."
    if facts.open_referral:
        return "A referral of this person is open. Close it first."
    if care(facts) and not despite_care:
        return "This person was referred or cared for. Confirm that keeping the record was checked."
    return None


KEPT_FOR: Mapping[str, timedelta] = {
    "replies": timedelta(hours=24),  # answers to API requests with an Idempotency-Key
    "receipts": timedelta(days=30),  # webhook posts as they came, once they are applied
    "answers of mailboxes": timedelta(days=90),  # the words beside a provider's event; the event itself stays
    "links": timedelta(days=30),  # sign-in links, after their end
    "sign-ins": timedelta(days=30),  # sessions of staff; tries at secrets
    "undo": timedelta(days=1),  # images of rows by which staff undo what they did
    "acts": timedelta(days=30),  # what was done to many leads at once
    "spam": timedelta(days=30),  # people known from nothing but spam, after it was marked
}
"""How long records are kept before they are deleted automatically."""


@dataclass(frozen=True, kw_only=True)
class PeriodKind:
    """A kind of records whose retention period the clinic sets. Periods are in days."""

    label: str
    what: str  # what is deleted when the period is over
    least: int
    suggested: int


YEAR = 365

PERIODS: Mapping[str, PeriodKind] = {
    "unconfirmed": PeriodKind(
        label="Requests that were never confirmed",
        what="People who never answered the confirmation email and whom staff never reached are erased.",
        least=30,
        suggested=180,
    ),
    "closed": PeriodKind(
        label="Lost and closed leads",
        what="People without care, all of whose contact requests are closed, are erased.",
        least=90,
        suggested=2 * YEAR,
    ),
    "no_lead": PeriodKind(
        label="Contacts without a lead",
        what="People who came from an import or another list and never asked for care are erased.",
        least=90,
        suggested=2 * YEAR,
    ),
    "messages": PeriodKind(
        label="Messages",
        what="Messages with practices about closed referrals are deleted, and what was filled into emails. "
        "Which email was sent when, is kept.",
        least=YEAR,
        suggested=7 * YEAR,
    ),
    "files": PeriodKind(
        label="Files",
        what="Files that practices attached to referrals which are closed are deleted.",
        least=YEAR,
        suggested=7 * YEAR,
    ),
}
MOST_DAYS = 100 * YEAR

KEPT_FOREVER: Sequence[str] = (
    "The audit log: it holds ids and codes, no names, and its chain proves that nothing was taken out "
    "(at least six years: 45 CFR 164.316(b)(2)).",
    "Consent and opt-outs with their times and wordings, and the block on an address that opted out.",
    "People who were referred or cared for: medical record laws decide, so an administrator erases them one by one.",
)


def read_days(kind: str, typed: str) -> int | None:
    """Return the period that was typed, in days; None keeps the records. Raises ValueError with the reason."""
    if not typed.strip():
        return None
    least = PERIODS[kind].least
    days = int(typed) if typed.strip().isdecimal() and len(typed.strip()) < 7 else 0
    if not least <= days <= MOST_DAYS:
        raise ValueError(f"Enter {least:,} to {MOST_DAYS:,} days, or leave it empty to keep these records.")
    return days
