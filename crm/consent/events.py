"""What happens to the yes and no of a person."""

from dataclasses import dataclass

from crm.events import Event


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
class ConsentWithdrawn(Event):
    """`topic` is None when everything was stopped."""

    contact_id: int
    topic: str | None
    reason: str  # opted_out, bounced, complained...
