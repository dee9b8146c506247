"""Events of consent and suppression."""

from dataclasses import dataclass
from datetime import datetime

from crm.consent.rules import ConfirmationKind, SuppressionScope
from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class ConfirmationRequested(Event):
    """A confirmation email must be sent to a person."""

    confirmation_id: int
    contact_id: int
    kind: ConfirmationKind
    language: str


@dataclass(frozen=True, kw_only=True)
class ConsentGiven(Event):
    contact_id: int
    topic: str
    record_id: int


@dataclass(frozen=True, kw_only=True)
class ConsentRestored(Event):
    """A person undid a withdrawal. What ended at `withdrawn_at` may resume where it was."""

    contact_id: int
    topic: str
    record_id: int
    withdrawn_at: datetime


@dataclass(frozen=True, kw_only=True)
class ConsentWithdrawn(Event):
    """A person withdrew consent to one topic, or to all (`topic` None)."""

    contact_id: int
    topic: str | None
    reason: str  # opted_out, bounced, complained...


@dataclass(frozen=True, kw_only=True)
class AddressesSuppressed(Event):
    """Addresses of these people were suppressed. One event per scope and reason, for any number of people."""

    contact_ids: tuple[int, ...]
    scope: SuppressionScope
    reason: str
