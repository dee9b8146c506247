"""Merges of contacts, with what moved, so that they can be undone."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.contacts.models import Contact
from crm.core.db import Base, HasId


class Merge(HasId, Base):
    """`gone` was merged into `kept`. The act `act_id` keeps what that changed; merges before acts were kept have none.

    `moved` was written by an earlier release.
    """

    __tablename__ = "contact_merge"
    __table_args__ = (
        Index("ix_contact_merge_kept", "kept_id", "id"),
        Index("ix_contact_merge_gone", "gone_id"),
    )

    kept_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    gone_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)
    moved: Mapped[dict[str, Any] | None]
    act_id: Mapped[int | None]
    undone_at: Mapped[datetime | None]

    gone: Mapped[Contact] = relationship(lazy="joined", innerjoin=True, foreign_keys=[gone_id])
