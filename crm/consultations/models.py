"""Consultations, rooms, absences of clinicians, and the private calendar feeds of staff."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.consultations.rules import ConsultationState
from crm.core.db import Base, EnumText, HasId
from crm.leads.models import Lead
from crm.staff.models import User


class Room(HasId, Base):
    """A room of the clinic. A removed one stays for the consultations that were booked in it."""

    __tablename__ = "room"
    __table_args__ = (Index("uq_room_name", text("lower(name)"), unique=True),)

    name: Mapped[str] = mapped_column(Text)
    removed_at: Mapped[datetime | None]


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
        Index("ix_consultation_clinician", "clinician_id", "starts_at", "id"),
        Index(
            "ix_consultation_room", "room_id", "starts_at", "id", postgresql_where=text("room_id is not null")
        ),
        Index("ix_consultation_no_show", "starts_at", "id", postgresql_where=text("state = 'no_show'")),
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
    revision: Mapped[int] = mapped_column(BigInteger, server_default="0")  # times moved
    clinician_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))  # who sees the person
    room_id: Mapped[int | None] = mapped_column(ForeignKey("room.id"))

    lead: Mapped[Lead] = relationship(lazy="joined", innerjoin=True)
    clinician: Mapped[User | None] = relationship(lazy="joined")
    room: Mapped[Room | None] = relationship(lazy="joined")


class ConsultationSequence(Base):
    """How often the consultations of a lead were changed: SEQUENCE in calendars. An undo raises it, too."""

    __tablename__ = "consultation_sequence"

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class ConsultationReminder(Base):
    """A reminder that was due: sent, if the person may be emailed. It is due once."""

    __tablename__ = "consultation_reminder"
    __table_args__ = (CheckConstraint("kind in ('two_days','two_hours')", name="kind"),)

    consultation_id: Mapped[int] = mapped_column(
        ForeignKey("consultation.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    at: Mapped[datetime]
    emailed: Mapped[bool] = mapped_column(Boolean, server_default="false")  # the person may be emailed


class Absence(HasId, Base):
    """Whole days, in clinic time, on which a clinician sees nobody."""

    __tablename__ = "absence"
    __table_args__ = (
        CheckConstraint("last_day >= first_day", name="days"),
        Index("ix_absence_user", "user_id", "last_day"),
        Index("ix_absence_last_day", "last_day"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    first_day: Mapped[date]
    last_day: Mapped[date]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class CalendarFeed(HasId, Base):
    """The private calendar address of a staff member. Removing the row ends the address."""

    __tablename__ = "calendar_feed"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), unique=True)
    everyone: Mapped[bool] = mapped_column(Boolean, server_default="false")  # also those of other clinicians
    created_at: Mapped[datetime]
