"""Consent evidence, current consent state, open confirmations and suppressions."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm.consent.rules import ConfirmationKind, ConsentAction, SuppressionScope
from crm.core.db import Base, EnumText, HasId


class ConsentRecord(HasId, Base):
    """One piece of evidence. A trigger refuses to change or delete it; a withdrawal adds a row."""

    __tablename__ = "consent_record"
    __table_args__ = (
        Index("ix_consent_record_contact", "contact_id", "id"),
        Index(
            "ix_consent_record_stopped_by",
            "message_id",
            postgresql_where=text("action = 'withdrawn' and message_id is not null"),
        ),
        Index("ix_consent_record_at", "at", postgresql_using="brin"),
        CheckConstraint(
            "action in ('attested','requested','granted','withdrawn','merged','unmerged','snoozed')",
            name="action",
        ),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    address_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    topic: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text, server_default="email")
    action: Mapped[ConsentAction] = mapped_column(EnumText(ConsentAction))
    wording: Mapped[str | None] = mapped_column(Text)  # "contact-form/2"
    wording_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    language: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)  # form, api, referrer, confirm_link, one_click, preferences...
    actor: Mapped[str] = mapped_column(Text)
    ip_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    covers_collecting: Mapped[bool] = mapped_column(Boolean, server_default="false")
    covers_sharing: Mapped[bool] = mapped_column(Boolean, server_default="false")
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    until: Mapped[datetime | None]  # of a snooze; None ends it
    at: Mapped[datetime]


class ConsentState(Base):
    """The newest decision of one person on one topic; `ledger` keeps it in step with the evidence."""

    __tablename__ = "consent_state"
    __table_args__ = (
        Index("ix_consent_state_topic", "topic", "contact_id", postgresql_where=text("granted")),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), primary_key=True)
    topic: Mapped[str] = mapped_column(Text, primary_key=True)
    granted: Mapped[bool]
    record_id: Mapped[int] = mapped_column(ForeignKey("consent_record.id"))
    address_index: Mapped[bytes | None] = mapped_column(LargeBinary)  # consent holds for this address only
    at: Mapped[datetime]


class Confirmation(HasId, Base):
    """A confirmation email and its answer. The link expires after 72 hours."""

    __tablename__ = "confirmation"
    __table_args__ = (
        Index("ix_confirmation_contact", "contact_id", "id"),
        Index("ix_confirmation_address", "address_index", "asked_at"),
    )

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    address_index: Mapped[bytes] = mapped_column(LargeBinary)
    topics: Mapped[list[str]] = mapped_column(ARRAY(Text))
    kind: Mapped[ConfirmationKind] = mapped_column(EnumText(ConfirmationKind))
    language: Mapped[str] = mapped_column(Text)
    wording: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]


class Suppression(HasId, Base):
    """An address that gets no email. Keyed by blind index, so that it outlives the person's record."""

    __tablename__ = "suppression"
    __table_args__ = (
        Index(
            "uq_suppression_active",
            "address_index",
            "scope",
            unique=True,
            postgresql_where=text("lifted_at is null"),
        ),
        CheckConstraint("scope in ('all','marketing')", name="scope"),
        Index("ix_suppression_address", "address_index", "at"),
    )

    address_index: Mapped[bytes] = mapped_column(LargeBinary)
    scope: Mapped[SuppressionScope] = mapped_column(EnumText(SuppressionScope))
    reason: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None] = mapped_column(Text)
