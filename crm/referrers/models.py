"""Practices that send people to us, and their clinicians."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.db import Base, HasId


class Practice(HasId, Base):
    """A referring practice."""

    __tablename__ = "practice"
    __table_args__ = (Index("ix_practice_name_lower", text("lower(name) text_pattern_ops")),)

    name: Mapped[str] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    fax: Mapped[str | None] = mapped_column(Text)
    city: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text, server_default="en")
    email: Mapped[str | None] = mapped_column(Text)
    approved_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    demo: Mapped[bool] = mapped_column(Boolean, server_default="false")


class Clinician(HasId, Base):
    """A person with an NPI who refers. The NPI's format is checked, not its existence."""

    __tablename__ = "clinician"

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"), index=True)
    name: Mapped[str] = mapped_column(Text)
    npi: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime]

    practice: Mapped[Practice] = relationship(lazy="joined")
