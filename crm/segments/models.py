"""Segments and their rules, which never change: a broadcast names the rule that it was drafted with."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.core.db import Base, HasId


class Segment(HasId, Base):
    """A saved audience by its name."""

    __tablename__ = "segment"
    __table_args__ = (Index("uq_segment_name", text("lower(name)"), unique=True),)

    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class SegmentRule(HasId, Base):
    """One version of a segment's rule. Rows are only added."""

    __tablename__ = "segment_rule"
    __table_args__ = (UniqueConstraint("segment_id", "number"),)

    segment_id: Mapped[int] = mapped_column(ForeignKey("segment.id"))
    number: Mapped[int] = mapped_column(BigInteger)
    rule: Mapped[dict[str, Any]]  # the shape is in `segments.rules.parse`
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(Text)

    segment: Mapped[Segment] = relationship(lazy="joined", innerjoin=True)
