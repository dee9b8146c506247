"""Leads, referrals, and the work on them."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.contacts.models import Contact
from crm.core.db import Base, Encrypted, EnumText, HasId
from crm.leads.rules import HAS_OUTCOME, LeadKind
from crm.referrers.models import Clinician, Practice
from crm.staff.models import User

OPEN_CALLBACK = "kind = 'callback' and done_at is null"

TO_CALL = (
    "accepted", "cancelled", "confirmed", "contacted", "contacting", "in_review", "new", "no_show", "qualified",
    "received", "rescheduled", "unconfirmed",
)  # fmt: skip
CALLABLE = f"due_at is not null and closed_at is null and stage in {TO_CALL}"
CALL_RANK = """case when kind = 'contact_request' and stage in ('confirmed','new','unconfirmed') then 1
 when urgent then 2 when stage = 'received' then 3 else 4 end"""
TO_REVIEW = "kind = 'referral' and stage in ('received','in_review') and closed_at is null"


class Lead(HasId, Base):
    """One request for care, from first touch to booked or lost."""

    __tablename__ = "lead"
    __table_args__ = (
        CheckConstraint("kind in ('contact_request','referral')", name="kind"),
        Index("ix_lead_newest", "created_at", "id"),
        Index("ix_lead_stage_newest", "stage", "created_at", "id"),
        Index("ix_lead_owner_newest", "owner_id", "created_at", "id"),
        Index("ix_lead_kind_newest", "kind", "created_at", "id"),
        Index("ix_lead_source_newest", "source", "created_at", "id"),
        Index("ix_lead_source_contact", "source", "contact_id"),
        Index(
            "ix_lead_open_newest",
            "created_at",
            "id",
            postgresql_include=["kind", "stage", "source", "owner_id"],
            postgresql_where=text("closed_at is null"),
        ),
        Index("ix_lead_owner_open", "owner_id", "stage_at", "id", postgresql_where=text("closed_at is null")),
        Index("ix_lead_contact", "contact_id", "id"),
        Index("ix_lead_board", "kind", "stage", "stage_at", "id", postgresql_where=text("closed_at is null")),
        Index("ix_lead_call", text(f"({CALL_RANK})"), "due_at", "id", postgresql_where=text(CALLABLE)),
        Index(
            "ix_lead_review",
            text("urgent desc"),
            text("stage desc"),
            "created_at",
            "id",
            postgresql_where=text(TO_REVIEW),
        ),
        Index("ix_lead_open_stage_at", "stage_at", "id", postgresql_where=text("closed_at is null")),
        Index(
            "ix_lead_due",
            "due_at",
            "id",
            postgresql_include=[
                "kind",
                "stage",
                "source",
                "owner_id",
                "contact_id",
                "last_attempt_at",
                "urgent",
            ],
            postgresql_where=text("due_at is not null and closed_at is null"),
        ),
    )

    reference: Mapped[str] = mapped_column(Text, unique=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    kind: Mapped[LeadKind] = mapped_column(EnumText(LeadKind))
    stage: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)  # required by some stages
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    source: Mapped[str] = mapped_column(Text)  # form, api, portal, import
    heard_from: Mapped[str | None] = mapped_column(Text)
    first_touch: Mapped[dict[str, Any] | None]  # utm_*, landing page, referring host
    message: Mapped[str | None] = mapped_column(Encrypted)
    content_index: Mapped[bytes | None] = mapped_column(LargeBinary)  # equal for the same request sent twice
    created_at: Mapped[datetime]
    stage_at: Mapped[datetime]
    urgent: Mapped[bool] = mapped_column(Boolean, server_default="false")  # as the referral says
    due_at: Mapped[datetime | None]  # deadline of this stage
    clock_left: Mapped[int | None]  # seconds of opening time left when the deadline was paused
    attempts: Mapped[int] = mapped_column(BigInteger, server_default="0")  # calls and letters so far
    last_attempt_at: Mapped[datetime | None]
    first_human_touch_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    demo: Mapped[bool] = mapped_column(Boolean, server_default="false")
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")

    contact: Mapped[Contact] = relationship(lazy="joined", innerjoin=True)
    owner: Mapped[User | None] = relationship(lazy="joined")
    referral: Mapped["Referral | None"] = relationship(back_populates="lead", lazy="select")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own form


class Referral(Base):
    """What a referrer submitted. Health facts are encrypted and never sent by email."""

    __tablename__ = "referral"
    __table_args__ = (
        Index(
            "uq_referral_external",
            "practice_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id is not null"),
        ),
        Index("ix_referral_practice", "practice_id", "lead_id"),
        Index("ix_referral_clinician", "clinician_id", "lead_id"),
        Index(
            "ix_referral_external_id",
            text("lower(external_id)"),
            postgresql_where=text("external_id is not null"),
        ),
    )

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"), primary_key=True)
    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"))
    clinician_id: Mapped[int] = mapped_column(ForeignKey("clinician.id"))
    external_id: Mapped[str | None] = mapped_column(Text)
    urgency: Mapped[str] = mapped_column(Text, server_default="routine")
    service: Mapped[str] = mapped_column(Text, server_default="consult")
    health: Mapped[str | None] = mapped_column(Encrypted)  # JSON: reason, diagnosis codes, payer, member id
    contact_person: Mapped[str | None] = mapped_column(Text)
    guardian: Mapped[str | None] = mapped_column(Encrypted)  # JSON: name, relation, phone
    patient_informed: Mapped[bool] = mapped_column(Boolean, server_default="false")
    patient_agreed_to_email: Mapped[bool] = mapped_column(Boolean, server_default="false")
    attestation: Mapped[str | None] = mapped_column(Text)  # wording and version the referrer ticked
    attestation_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    sent_at: Mapped[datetime]
    sent: Mapped[str | None] = mapped_column(
        Encrypted
    )  # JSON: the portal form as last sent, see crm.intake.corrections
    outcome_sent_at: Mapped[datetime | None]
    outcome_what: Mapped[str | None] = mapped_column(Text)  # of rules.OUTCOMES_SENT
    outcome_how: Mapped[str | None] = mapped_column(Text)  # of rules.SENT_BY

    lead: Mapped[Lead] = relationship(back_populates="referral")
    practice: Mapped[Practice] = relationship(lazy="joined", innerjoin=True)
    clinician: Mapped[Clinician] = relationship(lazy="joined", innerjoin=True)

    @property
    def outcome_known_at(self) -> datetime | None:
        """When the outcome was sent, for the practice; None at a stage that has none."""
        return self.outcome_sent_at if self.lead.stage in HAS_OUTCOME else None


class StageMove(HasId, Base):
    """One stage move: from, to, actor, time and reason."""

    __tablename__ = "stage_move"
    __table_args__ = (Index("ix_stage_move_lead", "lead_id", "id"),)

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    was: Mapped[str | None] = mapped_column(Text)
    now: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class Task(HasId, Base):
    """A task for staff with a due time."""

    __tablename__ = "task"
    __table_args__ = (
        CheckConstraint("priority in ('high','normal','low')", name="priority"),
        CheckConstraint("repeats in ('day','week','two_weeks','month')", name="repeats"),
        Index("ix_task_open_due", "due_at", "id", postgresql_where=text("done_at is null")),
        Index("ix_task_lead", "lead_id", "id"),
        Index("uq_task_callback", "lead_id", unique=True, postgresql_where=text(OPEN_CALLBACK)),
        Index("ix_task_callback_due", "due_at", "lead_id", postgresql_where=text(OPEN_CALLBACK)),
        Index("ix_task_owner_open", "owner_id", "due_at", "id", postgresql_where=text("done_at is null")),
    )

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    kind: Mapped[str] = mapped_column(Text)  # call, callback, policy, other
    title: Mapped[str] = mapped_column(Text)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    due_at: Mapped[datetime]
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    done_by: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[str] = mapped_column(Text, server_default="normal")
    repeats: Mapped[str | None] = mapped_column(Text)  # opens again when it is done
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own form


class Breach(HasId, Base):
    """A missed deadline: one row and one escalation per deadline of a lead."""

    __tablename__ = "lead_breach"
    __table_args__ = (UniqueConstraint("lead_id", "due_at"),)

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    stage: Mapped[str] = mapped_column(Text)
    due_at: Mapped[datetime]
    at: Mapped[datetime]


class Call(HasId, Base):
    """One attempt to reach a person, through any channel, and its outcome."""

    __tablename__ = "lead_call"
    __table_args__ = (Index("ix_lead_call_lead", "lead_id", "at"),)

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)  # phone, text, email, letter
    outcome: Mapped[str] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Encrypted)


class Assignee(Base):
    """A staff member who receives new leads. Empty languages or states mean all; no capacity means no limit."""

    __tablename__ = "assignee"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    languages: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    states: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")  # where people live
    capacity: Mapped[int | None]  # open leads at the same time
    on_duty: Mapped[bool] = mapped_column(Boolean, server_default="true")

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)
