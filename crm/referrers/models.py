"""Referring practices, their clinicians and their portal users."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.core.db import Base, Encrypted, EnumText, HasId
from crm.staff.models import OneTime, PasskeyRow, User


class Practice(HasId, Base):
    """A referring practice."""

    __tablename__ = "practice"
    __table_args__ = (
        Index("ix_practice_name_lower", text("lower(name) text_pattern_ops")),
        Index(
            "ix_practice_merged_into", "merged_into_id", postgresql_where=text("merged_into_id is not null")
        ),
    )

    name: Mapped[str] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    fax: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    city: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text, server_default="en")
    email: Mapped[str | None] = mapped_column(Text)
    approved_at: Mapped[datetime | None]
    show_initials: Mapped[bool] = mapped_column(
        Boolean, server_default="false"
    )  # of patients, in the portal's list
    created_at: Mapped[datetime]
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("practice.id"))
    demo: Mapped[bool] = mapped_column(Boolean, server_default="false")
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own form


class PracticeNote(HasId, Base):
    """What staff noted about a practice: a note, a call, a visit."""

    __tablename__ = "practice_note"
    __table_args__ = (
        CheckConstraint("kind in ('note', 'call', 'visit')", name="kind"),
        Index("ix_practice_note_practice", "practice_id", "at", "id"),
    )

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"))
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Encrypted)


class PracticeTask(HasId, Base):
    """A task about a practice."""

    __tablename__ = "practice_task"
    __table_args__ = (
        Index("ix_practice_task_practice", "practice_id", "due_at", "id"),
        Index("ix_practice_task_open", "due_at", "id", postgresql_where=text("done_at is null")),
    )

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"))
    title: Mapped[str] = mapped_column(Text)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    due_at: Mapped[datetime]
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    done_by: Mapped[str | None] = mapped_column(Text)

    owner: Mapped[User | None] = relationship(lazy="joined")


class Clinician(HasId, Base):
    """A person with an NPI who refers. The NPI's format is checked, not its existence."""

    __tablename__ = "clinician"

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"), index=True)
    name: Mapped[str] = mapped_column(Text)
    npi: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime]

    practice: Mapped[Practice] = relationship(lazy="joined")


class PortalState(StrEnum):
    """The state of a portal account."""

    ASKED = "asked"  # waits for staff to approve it
    OPEN = "open"
    CLOSED = "closed"


class PortalPerson(HasId, Base):
    """A portal user: a person at a practice. Never a member of staff: another table, another session.

    Each has a contact, so suppression of an address also holds for portal users.
    """

    __tablename__ = "portal_person"
    __table_args__ = (CheckConstraint("state in ('asked','open','closed')", name="state"),)

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"), index=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text, unique=True)
    language: Mapped[str] = mapped_column(Text, server_default="en")
    state: Mapped[PortalState] = mapped_column(EnumText(PortalState))
    serial: Mapped[int] = mapped_column(BigInteger, server_default="0")  # a higher one ends all sessions
    created_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    digest_at: Mapped[datetime | None]  # changes up to this time were sent by email

    practice: Mapped[Practice] = relationship(lazy="joined", innerjoin=True)


class PortalLink(OneTime):
    """A link that signs a portal user in."""

    __tablename__ = "portal_link"

    person_id: Mapped[int] = mapped_column(ForeignKey("portal_person.id"), index=True)


class Passkey(PasskeyRow):
    """A passkey of a portal user."""

    __tablename__ = "referrer_passkey"

    person_id: Mapped[int] = mapped_column(ForeignKey("portal_person.id", ondelete="CASCADE"), index=True)
