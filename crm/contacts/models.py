"""Contacts, their tags and their activity records."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, Encrypted, HasId


class TimeZone(Base):
    """A time zone that Python and PostgreSQL both know, see `crm.core.time_zones`. A migration fills the table."""

    __tablename__ = "time_zone"

    name: Mapped[str] = mapped_column(Text, primary_key=True)


class Contact(HasId, Base):
    """A person. Names and email are plain text for search and sending; phone and birth date are encrypted and found
    by blind index.
    """

    __tablename__ = "contact"
    __table_args__ = (
        Index("ix_contact_email_index", "email_index"),
        Index("ix_contact_phone_index", "phone_index"),
        Index("ix_contact_name_birth_index", "name_birth_index"),
        *(
            Index(f"ix_contact_{name}", name, "id", postgresql_where=text(f"{name} is not null"))
            for name in ("phone_last4_index", "phone_last7_index")
        ),
        Index(
            "ix_contact_last_first",
            text('lower(last_name) collate "C"'),
            text('lower(first_name) collate "C"'),
            "id",
        ),
        Index(
            "ix_contact_first_last",
            text('lower(first_name) collate "C"'),
            text('lower(last_name) collate "C"'),
            "id",
        ),
        Index("ix_contact_email_c", text('email collate "C"')),
        Index(
            "ix_contact_merged_into", "merged_into_id", postgresql_where=text("merged_into_id is not null")
        ),
    )

    created_at: Mapped[datetime]
    first_name: Mapped[str] = mapped_column(Text)
    last_name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)  # normalized; None when erased or never given
    email_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone: Mapped[str | None] = mapped_column(Encrypted)  # E.164
    phone_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_last4_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_last7_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    birth_date: Mapped[str | None] = mapped_column(Encrypted)  # ISO date
    name_birth_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    language: Mapped[str] = mapped_column(Text, server_default="en")
    time_zone: Mapped[str] = mapped_column(Text, ForeignKey("time_zone.name"))
    state: Mapped[str | None] = mapped_column(Text)  # US state, two letters
    snooze_until: Mapped[datetime | None]
    stop_reason: Mapped[str | None] = mapped_column(Text)  # of the clinical stop
    stopped_at: Mapped[datetime | None]
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id"))
    erased_at: Mapped[datetime | None]
    demo: Mapped[bool] = mapped_column(Boolean, server_default="false")
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own form

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()


class ContactSearch(Base):
    """A key of name search: one word of a name, folded, then the others. A trigger on `contact` writes it."""

    __tablename__ = "contact_search"
    __table_args__ = (Index("ix_contact_search_key", "key", "contact_id"),)

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)


class Tag(Base):
    """A tag that staff added to a person."""

    __tablename__ = "contact_tag"
    __table_args__ = (Index("ix_contact_tag_tag", "tag", "contact_id"),)

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), primary_key=True)
    tag: Mapped[str] = mapped_column(Text, primary_key=True)
    added_at: Mapped[datetime]


class Activity(HasId, Base):
    """One entry of a person's timeline. `text` is encrypted free text; `detail` holds only codes and ids."""

    __tablename__ = "activity"
    __table_args__ = (
        Index("ix_activity_contact_at", "contact_id", "at", "id"),
        Index("ix_activity_lead_at", "lead_id", "at", "id"),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    lead_id: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    text: Mapped[str | None] = mapped_column(Encrypted)
    detail: Mapped[dict[str, Any] | None]
