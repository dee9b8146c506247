"""Mail transports: one small protocol with SendGrid, SMTP and memory behind it.

A send has two halves on purpose: `prepare` may refuse and touches nothing outside; `post` of what it returns is the
one call that cannot be undone, and its outcome says exactly how much is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What all recipients of one call share. Each recipient's substitutions fill the placeholders in the texts."""

    subject: str
    html: str
    text: str
    language: str
    from_email: str
    from_name: str
    reply_to: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    list_unsubscribe: bool = False  # each recipient has a one-click address


class Recipient(NamedTuple):
    """One address, its message row, and the values of the placeholders."""

    message_id: int
    email: str
    substitutions: Mapping[str, str]
    unsubscribe_url: str | None = None


class PayloadError(Exception):
    """The call would break a rule of the provider or one of ours; nothing was sent."""


class Fate(StrEnum):
    """What is known after a call."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"  # not taken; come back at `retry_at`
    TRY_AGAIN = "try_again"  # surely not taken
    UNAUTHORISED = "unauthorised"  # not taken; the key is refused
    REFUSED = "refused"  # will never be taken as it is
    REFUSED_SOME = "refused_some"  # not taken; `refused` names the recipients at fault
    UNKNOWN = "unknown"  # may have been taken


class EventKind(StrEnum):
    """What the provider reports about one message."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    OTHER = "other"


class ProviderList(StrEnum):
    """The provider's suppression lists: it drops mail to an address that is on one."""

    BOUNCES = "bounces"
    SPAM_REPORTS = "spam_reports"
    INVALID_EMAILS = "invalid_emails"
    UNSUBSCRIBES = "unsubscribes"


DROP_REASONS: Mapping[str, str] = {  # reason of a dropped message -> words
    f"on_list_{ProviderList.BOUNCES}": "SendGrid had this address on its bounce list",
    f"on_list_{ProviderList.SPAM_REPORTS}": "SendGrid had this address on its spam-report list",
    f"on_list_{ProviderList.INVALID_EMAILS}": "SendGrid had this address on its list of invalid addresses",
    f"on_list_{ProviderList.UNSUBSCRIBES}": "SendGrid had this address on its unsubscribe list",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to one call. `error` is a short code with a capped text, without addresses."""

    fate: Fate
    provider_id: str | None = None
    retry_at: float | None = None  # unix seconds
    refused: tuple[int, ...] = ()  # indexes into the recipients
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A call that is built and not made yet.

    `post` makes it, once, and never raises for anything that the network or the provider does.
    """

    post: Callable[[], Outcome]


class Mailer(Protocol):
    """A mail transport."""

    name: str
    has_baa: bool

    def prepare(self, envelope: Envelope, recipients: Sequence[Recipient]) -> PreparedCall:
        """Build the call. Raises PayloadError."""
        ...


def tidy_error(code: str | int, text: str, *, limit: int = 200) -> str:
    """Clean foreign text for storage and display: printable, short, without addresses."""
    words = (
        "[address]" if "@" in word else word
        for word in "".join(c if c.isprintable() else " " for c in text).split()
    )
    return f"{code} {' '.join(words)}".strip()[:limit]
