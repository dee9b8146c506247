"""May we write to this person now, and why not. Pure: plain values in, a decision out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

TOPICS = ("prospect_edu", "referred_edu", "provider_nurture")
CONFIRM_WITHIN = timedelta(hours=72)  # an unanswered question dies
ASK_AGAIN_AFTER = timedelta(hours=24)  # one question per address, or the form becomes a way to flood somebody
UNDO_WITHIN = timedelta(hours=1)
PREFERENCES_LINK_LIFE = timedelta(days=60)
LONGEST_SNOOZE = timedelta(days=366)


class Reason(StrEnum):
    """Why somebody may not be written to, gravest first. When several hold, the first one is the answer."""

    ERASED = "erased"  # the record was erased on request
    MERGED = "merged"  # the record went up in another one
    NO_ADDRESS = "no_address"
    STOPPED = "stopped"  # a clinical stop: nothing at all, not even what they asked for
    SUPPRESSED = "suppressed"  # the address takes no mail from us of any kind (bounced, complained...)
    # what follows does not hold back transactional mail
    OPTED_OUT = "opted_out"  # the address is stopped for everything that is not transactional
    NO_CONSENT = "no_consent"  # nobody ever said yes to this topic
    WITHDRAWN = "withdrawn"  # said yes to this topic once, and then no
    OTHER_ADDRESS = "other_address"  # said yes from another address than the one we would write to
    SNOOZED = "snoozed"  # asked for a pause that has not ended


# For staff, after "Not sent: "
WORDS: dict[Reason, str] = {
    Reason.ERASED: "the record was erased on request",
    Reason.MERGED: "the record was merged into another one",
    Reason.NO_ADDRESS: "there is no email address",
    Reason.STOPPED: "a clinical stop is set",
    Reason.SUPPRESSED: "the address is suppressed",
    Reason.OPTED_OUT: "opted out of everything",
    Reason.NO_CONSENT: "never said yes to this topic",
    Reason.WITHDRAWN: "opted out of this topic",
    Reason.OTHER_ADDRESS: "the yes was given from another address",
    Reason.SNOOZED: "asked for a pause",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything the decision needs to know of one person, one topic and one moment.

    `granted` is what the newest evidence on the topic says: True, False, or None for no evidence of either.
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
    """Return why this person may not be written to, or None when they may."""
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


_NEVER_SAID_YES = frozenset({Reason.NO_CONSENT, Reason.OTHER_ADDRESS})
_SAID_NO = frozenset({Reason.OPTED_OUT, Reason.WITHDRAWN})


def worth_asking(reason: Reason | None, *, person_asked: bool) -> bool:
    """Say whether a question may go out, given why the person may not be written to on the topic.

    A no can be asked about again only when the person came back to us; somebody else's word does not reopen it. Who
    has said yes already is not asked again.
    """
    return reason in _NEVER_SAID_YES or (person_asked and reason in _SAID_NO)


class Standing(StrEnum):
    """What has become of a question to a person."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    VOID = "void"  # the record is erased, or is written to at another address now


def standing(
    *,
    now: datetime,
    expires_at: datetime,
    confirmed_at: datetime | None,
    address_index: bytes,
    address_index_now: bytes | None,
) -> Standing:
    """Say whether a confirmation can still be answered. An answer stays an answer, however old."""
    if confirmed_at is not None:
        return Standing.ANSWERED
    if now >= expires_at:
        return Standing.EXPIRED
    return Standing.OPEN if address_index == address_index_now else Standing.VOID
