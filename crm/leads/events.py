"""What happens to a lead."""

from dataclasses import dataclass

from crm.events import Event


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
