"""Events of a lead."""

from dataclasses import dataclass
from datetime import datetime

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class LeadOpened(Event):
    lead_id: int
    contact_id: int
    kind: str
    language: str


@dataclass(frozen=True, kw_only=True)
class MessageReceived(Event):
    """A person wrote to us and gets no other email about it."""

    contact_id: int
    language: str


@dataclass(frozen=True, kw_only=True)
class StageMoved(Event):
    lead_id: int
    contact_id: int
    kind: str
    was: str
    now: str


@dataclass(frozen=True, kw_only=True)
class LeadOverdue(Event):
    """A lead is past its deadline; published once per deadline."""

    lead_id: int
    contact_id: int
    kind: str
    stage: str


@dataclass(frozen=True, kw_only=True)
class ConsultationChanged(Event):
    """A consultation was booked, moved, cancelled, missed (`no_show`) or attended."""

    lead_id: int
    contact_id: int
    what: str
    starts_at: datetime
    has_email: bool
    language: str


@dataclass(frozen=True, kw_only=True)
class ConsultationUndone(Event):
    """A change of a consultation was undone. `change`: what that means for a person who knows of it."""

    change: ConsultationChanged


@dataclass(frozen=True, kw_only=True)
class ContactsMerged(Event):
    """Two records of one person were merged; `gone_id` is no longer in use."""

    kept_id: int
    gone_id: int


@dataclass(frozen=True, kw_only=True)
class ReplyRequested(Event):
    """Staff reply to a contact request with the email `kind`. If it cannot be queued, the transaction fails."""

    lead_id: int
    contact_id: int
    kind: str
    language: str
