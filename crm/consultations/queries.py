"""Consultation queries."""

from datetime import UTC, datetime, time

from sqlalchemy import Select, select

from crm.consultations.models import Consultation
from crm.consultations.rules import ConsultationState
from crm.core import clock, current


def without_outcome() -> Select[int, datetime]:
    """Select (lead id, start) of the consultations of earlier days that nobody has noted the outcome of."""
    zone = current.calendar().zone
    today = datetime.combine(clock.now().astimezone(zone).date(), time(), zone).astimezone(UTC)
    return select(Consultation.lead_id, Consultation.starts_at).where(
        Consultation.state == ConsultationState.BOOKED, Consultation.starts_at < today
    )
