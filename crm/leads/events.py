"""What happens to a lead."""

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
class StageMoved(Event):
    lead_id: int
    contact_id: int
    kind: str
    was: str
    now: str


@dataclass(frozen=True, kw_only=True)
class LeadOverdue(Event):
    """The clock of a lead's stage has run out; published once for each moment it was due at."""

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
class ContactsMerged(Event):
    """One person's two records became one; `gone_id` stands for nobody any more."""

    kept_id: int
    gone_id: int


@dataclass(frozen=True, kw_only=True)
class ReplyRequested(Event):
    """Staff answer a contact request by the email called `kind`. Nothing was answered unless it can be queued."""

    lead_id: int
    contact_id: int
    kind: str
    language: str
