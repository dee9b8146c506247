"""Consultations."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.consultations.rules import ConsultationState
from crm.core.db import Base, EnumText, HasId
from crm.leads.models import Lead


class Consultation(HasId, Base):
    """A visit with a date and time. Rescheduling adds a row; the old one becomes `rescheduled`."""

    __tablename__ = "consultation"
    __table_args__ = (
        CheckConstraint("state in ('booked','rescheduled','cancelled','no_show','attended')", name="state"),
        Index("ix_consultation_lead", "lead_id", "id"),
        Index("ix_consultation_starts", "starts_at", "id"),
        Index(
            "ix_consultation_booked_starts",
            "starts_at",
            "lead_id",
            postgresql_where=text("state = 'booked'"),
        ),
        Index("uq_consultation_booked", "lead_id", unique=True, postgresql_where=text("state = 'booked'")),
    )

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    starts_at: Mapped[datetime]
    minutes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[ConsultationState] = mapped_column(
        EnumText(ConsultationState), server_default=ConsultationState.BOOKED
    )
    state_at: Mapped[datetime]
    created_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)
    first_id: Mapped[int | None]  # the booking that this one moved; None for the first
    revision: Mapped[int] = mapped_column(
        BigInteger, server_default="0"
    )  # times moved, SEQUENCE in calendars

    lead: Mapped[Lead] = relationship(lazy="joined", innerjoin=True)
