"""What happens to the yes and no of a person."""

from dataclasses import dataclass
from datetime import datetime

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class ConfirmationAsked(Event):
    """A person must be asked by email; `kind` is confirmation or invitation."""

    confirmation_id: int
    contact_id: int
    kind: str
    language: str


@dataclass(frozen=True, kw_only=True)
class ConsentGiven(Event):
    contact_id: int
    topic: str
    record_id: int


@dataclass(frozen=True, kw_only=True)
class ConsentRestored(Event):
    """A person took back their no right away. What it had ended at `withdrawn_at` may go on where it was."""

    contact_id: int
    topic: str
    record_id: int
    withdrawn_at: datetime


@dataclass(frozen=True, kw_only=True)
class ConsentWithdrawn(Event):
    """`topic` is None when everything was stopped."""

    contact_id: int
    topic: str | None
    reason: str  # opted_out, bounced, complained...


@dataclass(frozen=True, kw_only=True)
class AddressesSuppressed(Event):
    """Addresses were suppressed, and these people are known by them. One event per act, however many it hit."""

    contact_ids: tuple[int, ...]
    scope: str  # all, marketing
    reason: str
