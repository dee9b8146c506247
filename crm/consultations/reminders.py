"""Reminders of consultations: one email two days and one two hours before, to people who agreed to be emailed."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, exists, literal, select

from crm.consultations import service
from crm.consultations.models import Consultation, ConsultationReminder
from crm.consultations.rules import ConsultationState
from crm.contacts import service as contacts
from crm.core import clock, events
from crm.core.db import db
from crm.leads.events import ConsultationChanged

SLICE = 100  # consultations in one transaction
BEFORE: Mapping[str, timedelta] = {"two_days": timedelta(days=2), "two_hours": timedelta(hours=2)}


def remind() -> int:
    """Remind of up to 100 consultations for each time before them; return of how many.

    Each one is marked, also where no email may be sent, so that it is looked at once. A consultation that was booked
    or moved after the time of a reminder needs none: its own email said the time.
    """
    now, count = clock.now(), 0
    for kind in BEFORE:
        found = db.session.scalars(
            select(Consultation)
            .where(*_due(kind, now))
            .order_by(Consultation.starts_at, Consultation.id)
            .limit(SLICE)
            .with_for_update(of=Consultation, skip_locked=True)
        ).all()
        for one in found:
            _remind(one, kind, now)
        count += len(found)
    return count


def _due(kind: str, now: datetime) -> list[ColumnElement[bool]]:
    before = BEFORE[kind]
    earliest = now + BEFORE["two_hours"] if kind == "two_days" else now
    reminded = exists().where(
        ConsultationReminder.consultation_id == Consultation.id, ConsultationReminder.kind == kind
    )
    return [
        Consultation.state == ConsultationState.BOOKED,
        Consultation.starts_at > earliest,
        Consultation.starts_at <= now + before,
        Consultation.created_at < Consultation.starts_at - literal(before, Interval()),
        ~reminded,
    ]


def _remind(consultation: Consultation, kind: str, now: datetime) -> None:
    lead, has_email = consultation.lead, service.email_refusal(consultation.lead) is None
    db.session.add(
        ConsultationReminder(consultation_id=consultation.id, kind=kind, at=now, emailed=has_email)
    )
    db.session.flush()
    if not has_email:
        return
    detail = {"what": "reminder", "starts_at": consultation.starts_at.isoformat(), "id": consultation.id}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="consultation", detail=detail)
    events.publish(
        ConsultationChanged(
            lead_id=lead.id,
            contact_id=lead.contact_id,
            what="reminder",
            starts_at=consultation.starts_at,
            has_email=True,
            language=lead.contact.language,
        )
    )
