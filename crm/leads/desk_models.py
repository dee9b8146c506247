"""What the front desk keeps about its work: clocks that ran out, attempts to reach people, consultations, who takes leads."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.db import Base, Encrypted, HasId
from crm.leads.models import Lead
from crm.staff.models import User


class Breach(HasId, Base):
    """A clock that ran out: one row, and one escalation, per moment at which a lead was due."""

    __tablename__ = "lead_breach"
    __table_args__ = (UniqueConstraint("lead_id", "due_at"),)

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    stage: Mapped[str] = mapped_column(Text)
    due_at: Mapped[datetime]
    at: Mapped[datetime]


class Call(HasId, Base):
    """One attempt to reach somebody, by phone or another way, and what came of it."""

    __tablename__ = "lead_call"
    __table_args__ = (Index("ix_lead_call_lead", "lead_id", "at"),)

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)  # phone, text, email, letter
    outcome: Mapped[str] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Encrypted)


class Consultation(HasId, Base):
    """A visit with a day and an hour. A new time is a new row; the old one says `rescheduled`."""

    __tablename__ = "consultation"
    __table_args__ = (
        CheckConstraint("state in ('booked','rescheduled','cancelled','no_show','attended')", name="state"),
        Index("ix_consultation_lead", "lead_id", "id"),
        Index("ix_consultation_starts", "starts_at", "id"),
        Index("uq_consultation_booked", "lead_id", unique=True, postgresql_where=text("state = 'booked'")),
    )

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    starts_at: Mapped[datetime]
    minutes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text, server_default="booked")
    state_at: Mapped[datetime]
    created_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)

    lead: Mapped[Lead] = relationship(lazy="joined", innerjoin=True)


class Assignee(Base):
    """Somebody new leads are given to, in turn. No languages or states named: all; no capacity: as many as come."""

    __tablename__ = "assignee"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    languages: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    states: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")  # where people live
    capacity: Mapped[int | None]  # open leads at the same time
    on_duty: Mapped[bool] = mapped_column(Boolean, server_default="true")

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)
