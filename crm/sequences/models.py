"""Sequences, their immutable versions, and enrolments."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.core.db import Base, EnumText, HasId
from crm.messages.rules import StreamName
from crm.sequences.rules import DraftState, EnrolmentState, SequenceState
from crm.sequences.version_change import People


class EmailSequence(HasId, Base):
    """A series of emails for one consent topic."""

    __tablename__ = "sequence"
    __table_args__ = (CheckConstraint("state in ('draft','live','paused','retired')", name="state"),)

    key: Mapped[str] = mapped_column(Text, unique=True)
    title: Mapped[str] = mapped_column(Text)
    topic: Mapped[str] = mapped_column(Text)
    stream: Mapped[StreamName] = mapped_column(EnumText(StreamName))
    state: Mapped[SequenceState] = mapped_column(EnumText(SequenceState))
    paused_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class SequenceVersion(HasId, Base):
    """The plan of a sequence. Never changed (a trigger refuses it): people finish the version they began."""

    __tablename__ = "sequence_version"
    __table_args__ = (UniqueConstraint("sequence_id", "number"),)

    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequence.id"))
    number: Mapped[int] = mapped_column(BigInteger)
    plan: Mapped[dict[str, Any]]  # the shape is in `sequences.rules.plan_from`
    created_at: Mapped[datetime]

    sequence: Mapped[EmailSequence] = relationship(lazy="joined", innerjoin=True)


class Enrolment(HasId, Base):
    """One person in one sequence. At most one live enrolment per person and sequence, by constraint."""

    __tablename__ = "enrolment"
    __table_args__ = (
        CheckConstraint("state in ('active','paused','held','completed','exited')", name="state"),
        CheckConstraint("(state = 'active') = (due_at is not null)", name="due"),
        Index(
            "uq_enrolment_live",
            "contact_id",
            "sequence_id",
            unique=True,
            postgresql_where=text("state in ('active','paused','held')"),
        ),
        Index("ix_enrolment_contact", "contact_id", "id"),
        Index("ix_enrolment_due", "due_at", "id", postgresql_where=text("state = 'active'")),
        Index(
            "ix_enrolment_left",
            "left_at",
            "sequence_id",
            "state",
            postgresql_where=text("state in ('completed','exited')"),
        ),
        Index("ix_enrolment_sequence", "sequence_id", "state", "step", "id"),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequence.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("sequence_version.id"))
    consent_record_id: Mapped[int | None] = mapped_column(BigInteger)
    lead_id: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[EnrolmentState] = mapped_column(EnumText(EnrolmentState))
    step: Mapped[int] = mapped_column(BigInteger, server_default="0")  # the next email, from 0
    due_at: Mapped[datetime | None]
    # Of a step that waits for its send window: since when it is due, and `due_at` as the planner set it.
    planned_at: Mapped[datetime | None]
    waits_until: Mapped[datetime | None]
    anchor_at: Mapped[datetime]  # the moment the next wait is counted from
    entered_at: Mapped[datetime]
    reason: Mapped[str | None] = mapped_column(Text)  # why it waits or ended
    left_at: Mapped[datetime | None]
    paused_left: Mapped[int | None] = mapped_column(BigInteger)  # seconds that were left when it was paused
    send_now: Mapped[bool] = mapped_column(
        Boolean, server_default="false"
    )  # staff asked: ignore the window once
    end_name: Mapped[str | None] = mapped_column(Text)  # of the goal, exit or end that they reached


class Passage(Base):
    """The arm that one person took at one branch. Rows are only added."""

    __tablename__ = "passage"
    __table_args__ = (Index("ix_passage_at", "at"),)

    enrolment_id: Mapped[int] = mapped_column(ForeignKey("enrolment.id"), primary_key=True)
    node: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    yes: Mapped[bool]
    at: Mapped[datetime]


class SequenceDraft(HasId, Base):
    """The next version of a sequence while staff write it. At most one is under way per sequence."""

    __tablename__ = "sequence_draft"
    __table_args__ = (
        CheckConstraint("state in ('open','approved','moving','published','discarded')", name="state"),
        CheckConstraint("people in ('finish','move')", name="people"),
        CheckConstraint(
            "(state in ('approved','moving','published')) = (approved_by is not null)", name="approved"
        ),
        CheckConstraint("approved_by is null or approved_by <> edited_by", name="second_person"),
        CheckConstraint("(state in ('moving','published')) = (version_id is not null)", name="version"),
        Index(
            "uq_sequence_draft_open",
            "sequence_id",
            unique=True,
            postgresql_where=text("state in ('open','approved','moving')"),
        ),
    )

    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequence.id"), index=True)
    base_id: Mapped[int] = mapped_column(ForeignKey("sequence_version.id"))  # it was made from this version
    plan: Mapped[dict[str, Any]]
    before: Mapped[dict[str, Any] | None]  # the plan before the last edit, for undo
    people: Mapped[People] = mapped_column(EnumText(People), server_default="finish")
    state: Mapped[DraftState] = mapped_column(EnumText(DraftState), server_default="open")
    lock: Mapped[int] = mapped_column(BigInteger, server_default="1")
    created_at: Mapped[datetime]
    edited_by: Mapped[str] = mapped_column(Text)
    edited_at: Mapped[datetime]
    approved_by: Mapped[str | None] = mapped_column(Text)
    publish_at: Mapped[datetime | None]  # until then publishing can be undone
    version_id: Mapped[int | None] = mapped_column(ForeignKey("sequence_version.id"))  # what it became
    moved_to: Mapped[int] = mapped_column(BigInteger, server_default="0")  # last enrolment that was handled
    results: Mapped[dict[str, Any] | None]  # fate -> how many people

    __mapper_args__ = {"version_id_col": lock}  # noqa: RUF012 - SQLAlchemy's own form
