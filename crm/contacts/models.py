"""Contacts, their tags and their activity records."""

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
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, Encrypted, HasId


class TimeZone(Base):
    """A time zone that Python and PostgreSQL both know, see `crm.core.time_zones`. A migration fills the table."""

    __tablename__ = "time_zone"

    name: Mapped[str] = mapped_column(Text, primary_key=True)


PHONE_KINDS = ("mobile", "home", "work", "guardian", "other")
_KIND_IN = f"in {PHONE_KINDS}"


class Contact(HasId, Base):
    """A person. Names and email are plain text for search and sending; phone and birth date are encrypted and found
    by blind index.
    """

    __tablename__ = "contact"
    __table_args__ = (
        CheckConstraint(f"phone_kind {_KIND_IN}", name="phone_kind"),
        Index("ix_contact_created", "created_at", "id"),
        Index("ix_contact_language", "language", "id"),
        Index("ix_contact_state", "state", "id", postgresql_where=text("state is not null")),
        Index(
            "ix_contact_chart_number",
            text("lower(chart_number)"),
            postgresql_where=text("chart_number is not null"),
        ),
        Index("ix_contact_email_index", "email_index"),
        Index("ix_contact_phone_index", "phone_index"),
        Index("ix_contact_name_birth_index", "name_birth_index"),
        *(
            Index(f"ix_contact_{name}", name, "id", postgresql_where=text(f"{name} is not null"))
            for name in ("phone_last4_index", "phone_last7_index", "phone_first6_index")
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
    preferred_name: Mapped[str | None] = mapped_column(Text)  # in place of the first name
    email: Mapped[str | None] = mapped_column(Text)  # normalized; None when erased or never given
    email_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone: Mapped[str | None] = mapped_column(Encrypted)  # E.164
    phone_kind: Mapped[str | None] = mapped_column(Text)
    phone_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_last4_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_last7_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_first6_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    birth_date: Mapped[str | None] = mapped_column(Encrypted)  # ISO date
    chart_number: Mapped[str | None] = mapped_column(Text)  # the clinic's own
    guardian: Mapped[str | None] = mapped_column(Encrypted)  # JSON: name, relation, phone
    name_birth_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    language: Mapped[str] = mapped_column(Text, server_default="en")
    time_zone: Mapped[str] = mapped_column(Text, ForeignKey("time_zone.name"))
    state: Mapped[str | None] = mapped_column(Text)  # US state, two letters
    snooze_until: Mapped[datetime | None]
    stop_reason: Mapped[str | None] = mapped_column(Text)  # of the clinical stop
    stopped_at: Mapped[datetime | None]
    touched_at: Mapped[datetime | None]  # when staff last spoke or wrote to the person, or saw them
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id"))
    erased_at: Mapped[datetime | None]
    edited_at: Mapped[datetime | None]
    demo: Mapped[bool] = mapped_column(Boolean, server_default="false")
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own form

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    @property
    def called(self) -> str:
        """Return the name by which to greet the person: Ana Lopez, or Anita Lopez if she prefers that."""
        return f"{self.preferred_name or self.first_name} {self.last_name}".strip()


class ContactPhone(HasId, Base):
    """A further phone number of a person; the first one stands on the contact."""

    __tablename__ = "contact_phone"
    __table_args__ = (
        CheckConstraint(f"kind {_KIND_IN}", name="kind"),
        UniqueConstraint("contact_id", "phone_index"),
        *(
            Index(f"ix_contact_phone_{name}", name, "contact_id")
            for name in ("phone_index", "phone_last4_index", "phone_last7_index", "phone_first6_index")
        ),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    kind: Mapped[str] = mapped_column(Text)
    number: Mapped[str] = mapped_column(Encrypted)  # E.164
    phone_index: Mapped[bytes] = mapped_column(LargeBinary)
    phone_last4_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_last7_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_first6_index: Mapped[bytes | None] = mapped_column(LargeBinary)


class ContactChange(HasId, Base):
    """One field of a person that was edited: what it held before and after. Rows are only added."""

    __tablename__ = "contact_change"
    __table_args__ = (Index("ix_contact_change_contact", "contact_id", "id"),)

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)
    field: Mapped[str] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Encrypted)
    after: Mapped[str | None] = mapped_column(Encrypted)
    source: Mapped[str] = mapped_column(Text)  # edit, wrote_otherwise, correction, merge, split, undo


class ContactSearch(Base):
    """A key of name search: one word of a name, folded, then the others. A trigger on `contact` writes it."""

    __tablename__ = "contact_search"
    __table_args__ = (Index("ix_contact_search_key", "key", "contact_id"),)

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)


STAFF_ADDRESS = "staff-alerts"  # the tag of a record that stands only for an address of staff


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
