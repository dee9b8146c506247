"""The only door out. One small protocol; SendGrid, SMTP and memory behind it.

A send has two halves on purpose: `prepare` may refuse and touches nothing outside; `post` is the one call that
cannot be taken back, and says exactly how much is known about what became of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What all recipients of one call share. Texts hold placeholders that each recipient's substitutions fill."""

    subject: str
    html: str
    text: str
    language: str
    from_email: str
    from_name: str
    reply_to: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    list_unsubscribe: bool = False  # whether each recipient brings a one-click address


class Recipient(NamedTuple):
    """One address, the message row it stands for, and what fills the placeholders."""

    message_id: int
    email: str
    substitutions: Mapping[str, str]
    unsubscribe_url: str | None = None


class PayloadError(Exception):
    """The call would break a rule of the provider or of ours; nothing was sent."""


class Fate(StrEnum):
    """What is known after `post`."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"  # not taken; come back at `retry_at`
    TRY_AGAIN = "try_again"  # surely not taken
    UNAUTHORISED = "unauthorised"  # not taken; the key is refused
    REFUSED = "refused"  # never will be taken as it is
    REFUSED_SOME = "refused_some"  # not taken; `refused` names the recipients that stand in the way
    UNKNOWN = "unknown"  # may have been taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to one `post`. `error` is a short code with a capped text, without addresses."""

    fate: Fate
    provider_id: str | None = None
    retry_at: float | None = None  # unix seconds
    refused: tuple[int, ...] = ()  # indexes into the recipients
    error: str | None = None


class Mailer(Protocol):
    """A way out for mail."""

    name: str
    has_baa: bool

    def prepare(self, envelope: Envelope, recipients: Sequence[Recipient]) -> Any:
        """Return what `post` will send. Raises PayloadError."""
        ...

    def post(self, prepared: Any) -> Outcome:
        """Hand it over, once. Never raises for anything the network or the provider does."""
        ...


def tidy_error(code: str | int, text: str, *, limit: int = 200) -> str:
    """Make foreign text fit to be kept and shown: printable, short, without anything like an address."""
    words = (
        "[address]" if "@" in word else word
        for word in "".join(c if c.isprintable() else " " for c in text).split()
    )
    return f"{code} {' '.join(words)}".strip()[:limit]
