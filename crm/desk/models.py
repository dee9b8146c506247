"""Saved filters, bulk runs, claims of calls and emergency access."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.core.db import Base, Encrypted, EnumText, HasId
from crm.staff.models import User


class SavedFilter(HasId, Base):
    """Named filters of a list (leads, contacts), private or shared."""

    __tablename__ = "saved_filter"
    __table_args__ = (UniqueConstraint("user_id", "list", "name"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    list: Mapped[str] = mapped_column(Text, server_default="leads")
    name: Mapped[str] = mapped_column(Text)
    shared: Mapped[bool] = mapped_column(Boolean)
    filters: Mapped[dict[str, Any]]  # field -> code; never search words: they may be a name
    created_at: Mapped[datetime]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class RunState(StrEnum):
    """State of a bulk run."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"


class ItemState(StrEnum):
    """State of one lead in a bulk run."""

    WAITING = "waiting"
    REFUSED = "refused"  # skipped
    DONE = "done"
    UNDONE = "undone"
    KEPT = "kept"  # could not be undone


class BulkRun(HasId, Base):
    """One action on many leads: planned, then run, then possibly undone."""

    __tablename__ = "bulk_run"
    __table_args__ = (
        CheckConstraint("state in ('planned','running','done','undoing','undone')", name="state"),
        Index("ix_bulk_run_state", "state", "beat_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    act: Mapped[str] = mapped_column(Text)  # assign, move, tag, task, spam, restore
    given: Mapped[dict[str, Any]]  # what the act needs: an owner, a stage, a tag...
    state: Mapped[RunState] = mapped_column(EnumText(RunState))
    created_at: Mapped[datetime]
    beat_at: Mapped[datetime]  # time of the last slice: a stalled run is continued
    done_at: Mapped[datetime | None]


class BulkItem(Base):
    """One lead in a run. `version` is the lead's version when the action was planned."""

    __tablename__ = "bulk_item"
    __table_args__ = (
        CheckConstraint("state in ('waiting','refused','done','undone','kept')", name="state"),
        Index("ix_bulk_item_state", "run_id", "state", "lead_id"),
        Index("ix_bulk_item_lead", "lead_id"),
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("bulk_run.id"), primary_key=True)
    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[ItemState] = mapped_column(EnumText(ItemState))
    why: Mapped[str | None] = mapped_column(Text)  # why it was skipped, or could not be undone
    before: Mapped[dict[str, Any] | None]  # what an undo needs


class Work(StrEnum):
    """What a lead is claimed for."""

    CALL = "call"
    REVIEW = "review"  # of a referral


class CallClaim(Base):
    """The lead that a staff member is calling or reviewing now. No one else gets it until the claim ends."""

    __tablename__ = "call_claim"
    __table_args__ = (
        CheckConstraint("until > claimed_at", name="until"),
        CheckConstraint("work in ('call','review')", name="work"),
    )

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), unique=True)
    work: Mapped[Work] = mapped_column(EnumText(Work), server_default="call")
    claimed_at: Mapped[datetime]
    until: Mapped[datetime]


class EmergencyAccess(HasId, Base):
    """The clinical details of one person, opened to one member of staff for an hour."""

    __tablename__ = "emergency_access"
    __table_args__ = (CheckConstraint("reason in ('medical', 'safety', 'nobody')", name="reason"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)
    reason: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Encrypted)
    opened_at: Mapped[datetime]
    ends_at: Mapped[datetime]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)
