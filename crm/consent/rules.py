"""Consent decision: whether an email may be sent to a person, and the reason if not.

Pure: plain values in, a decision out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

TOPICS = ("prospect_edu", "referred_edu", "provider_nurture")
CONFIRM_WITHIN = timedelta(hours=72)  # then the link expires
# Nobody can use the form to flood a mailbox: a person is asked once in this time, a mailbox that a family shares so often.
ASK_AGAIN_AFTER = timedelta(hours=24)
ASKED_PER_ADDRESS = 3
UNDO_WITHIN = timedelta(hours=1)
PREFERENCES_LINK_LIFE = timedelta(days=60)
LONGEST_SNOOZE = timedelta(days=366)


class ConsentAction(StrEnum):
    """What one piece of evidence records."""

    ATTESTED = "attested"  # a referrer states that the person agrees to be asked
    REQUESTED = "requested"  # the person asked for the emails
    GRANTED = "granted"  # the person confirmed from their own mailbox
    WITHDRAWN = "withdrawn"
    MERGED = "merged"  # the record was merged into another one
    UNMERGED = "unmerged"  # the merge was undone: what it recorded holds no more
    SNOOZED = "snoozed"  # no email before a date


class ConfirmationKind(StrEnum):
    """Why a confirmation email is sent."""

    CONFIRMATION = "confirmation"  # the person asked for the emails
    INVITATION = "invitation"  # a referrer states that the person agrees to be asked


class SuppressionScope(StrEnum):
    """Which emails a suppressed address does not get."""

    ALL = "all"
    MARKETING = "marketing"  # all but transactional email


class Reason(StrEnum):
    """Why an email may not be sent to a person, most serious first. If several hold, the first one counts."""

    ERASED = "erased"  # the record was erased on request
    MERGED = "merged"  # the record was merged into another one
    NO_ADDRESS = "no_address"
    STOPPED = "stopped"  # a clinical stop: no email at all, not even transactional
    SUPPRESSED = "suppressed"  # the address gets no email of any kind (bounced, complained...)
    # the reasons below do not apply to transactional email
    OPTED_OUT = "opted_out"  # the address opted out of all marketing email
    NO_CONSENT = "no_consent"  # there was never consent to this topic
    WITHDRAWN = "withdrawn"  # consent to this topic was withdrawn
    OTHER_ADDRESS = "other_address"  # consent was given from a different address
    SNOOZED = "snoozed"  # a pause that has not ended


# For staff, after "Not sent: "
REASON_LABELS: dict[Reason, str] = {
    Reason.ERASED: "the record was erased on request",
    Reason.MERGED: "the record was merged into another one",
    Reason.NO_ADDRESS: "there is no email address",
    Reason.STOPPED: "a clinical stop is set",
    Reason.SUPPRESSED: "the address is suppressed",
    Reason.OPTED_OUT: "opted out of everything",
    Reason.NO_CONSENT: "no consent to this topic",
    Reason.WITHDRAWN: "opted out of this topic",
    Reason.OTHER_ADDRESS: "consent was given from another address",
    Reason.SNOOZED: "emails are paused",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about one person, one topic and one time.

    `granted` is the newest decision on the topic: True, False, or None if there is none.
    """

    now: datetime
    transactional: bool = False
    erased: bool = False
    merged: bool = False
    has_address: bool = True
    stopped: bool = False
    suppressed_all: bool = False
    suppressed_marketing: bool = False
    granted: bool | None = None
    same_address: bool = True
    snoozed_until: datetime | None = None


def decide(facts: Facts) -> Reason | None:
    """Return why no email may be sent to this person, or None if it may."""
    always = (
        (facts.erased, Reason.ERASED),
        (facts.merged, Reason.MERGED),
        (not facts.has_address, Reason.NO_ADDRESS),
        (facts.stopped, Reason.STOPPED),
        (facts.suppressed_all, Reason.SUPPRESSED),
    )
    unless_transactional = (
        (facts.suppressed_marketing, Reason.OPTED_OUT),
        (facts.granted is None, Reason.NO_CONSENT),
        (facts.granted is False, Reason.WITHDRAWN),
        (not facts.same_address, Reason.OTHER_ADDRESS),
        (facts.snoozed_until is not None and facts.snoozed_until > facts.now, Reason.SNOOZED),
    )
    checks = always if facts.transactional else always + unless_transactional
    return next((reason for holds, reason in checks if holds), None)


_NO_CONSENT_YET = frozenset({Reason.NO_CONSENT, Reason.OTHER_ADDRESS})
_OPTED_OUT = frozenset({Reason.OPTED_OUT, Reason.WITHDRAWN})


def may_ask(reason: Reason | None, *, person_asked: bool) -> bool:
    """Return whether a confirmation email may be sent, given why emails on the topic may not.

    After an opt-out only the person's own request allows it, not a referrer's statement. A person who has consented
    is not asked again.
    """
    return reason in _NO_CONSENT_YET or (person_asked and reason in _OPTED_OUT)


class ConfirmationStatus(StrEnum):
    """Status of a confirmation email."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    VOID = "void"  # the record was erased or has another address now


def confirmation_status(
    *,
    now: datetime,
    expires_at: datetime,
    confirmed_at: datetime | None,
    address_index: bytes,
    address_index_now: bytes | None,
) -> ConfirmationStatus:
    """Return whether a confirmation can still be answered. An answered one never expires."""
    if confirmed_at is not None:
        return ConfirmationStatus.ANSWERED
    if now >= expires_at:
        return ConfirmationStatus.EXPIRED
    return ConfirmationStatus.OPEN if address_index == address_index_now else ConfirmationStatus.VOID
