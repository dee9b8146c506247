"""Retention periods that the clinic set, and legal holds."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, Encrypted, HasId


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

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    reason: Mapped[str] = mapped_column(Encrypted)
    placed_at: Mapped[datetime]
    placed_by: Mapped[str] = mapped_column(Text)
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None] = mapped_column(Text)
