"""Retention periods, legal holds, links to a person's own data, and erasures that the mail provider owes."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, Encrypted, HasId
from crm.staff.models import OneTime


class RetentionPeriod(Base):
    """How many days records of one kind are kept. Without a row, records of that kind are kept."""

    __tablename__ = "retention_period"
    __table_args__ = (CheckConstraint("days >= 30", name="days"),)

    kind: Mapped[str] = mapped_column(Text, primary_key=True)  # of rules.PERIODS
    days: Mapped[int]
    set_at: Mapped[datetime]
    set_by: Mapped[str] = mapped_column(Text)


class LegalHold(HasId, Base):
    """A person whose records may not be deleted, because a lawsuit or an authority needs them."""

    __tablename__ = "legal_hold"
    __table_args__ = (
        Index("uq_legal_hold_open", "contact_id", unique=True, postgresql_where=text("lifted_at is null")),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)
    reason: Mapped[str] = mapped_column(Encrypted)
    placed_at: Mapped[datetime]
    placed_by: Mapped[str] = mapped_column(Text)
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None] = mapped_column(Text)


class OwnDataLink(OneTime):
    """A link by which a person gets a copy of their own data, or has it erased."""

    __tablename__ = "own_data_link"

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)


class ProviderErasure(HasId, Base):
    """An address of an erased person that the mail provider has yet to erase; the row is deleted when it was asked."""

    __tablename__ = "provider_erasure"

    address: Mapped[str] = mapped_column(Encrypted)
    at: Mapped[datetime]
