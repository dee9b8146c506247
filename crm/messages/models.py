"""The ledger. A message row is written once; what moves is its batch, until the message has a fate of its own."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, HasId


class Batch(HasId, Base):
    """Up to 1,000 messages of equal content version, language, stream, transport and sender: one provider call."""

    __tablename__ = "batch"
    __table_args__ = (
        CheckConstraint(
            "state in ('ready','held','sending','accepted','failed','uncertain','cancelled')", name="state"
        ),
        CheckConstraint("(state = 'sending') = (lease_until is not null)", name="lease"),
        Index("ix_batch_ready", "not_before", "id", postgresql_where=text("state = 'ready'")),
        Index(
            "ix_batch_open",
            "state",
            "id",
            postgresql_where=text("state in ('sending','uncertain','failed','held')"),
        ),
        Index("ix_batch_created_at", "created_at"),
        Index("ix_batch_campaign", "campaign_id", "id", postgresql_where=text("campaign_id is not null")),
    )

    kind: Mapped[str] = mapped_column(Text)  # transactional, sequence, campaign
    stream: Mapped[str] = mapped_column(Text)
    transport: Mapped[str] = mapped_column(Text)  # sendgrid, smtp
    content_version_id: Mapped[int] = mapped_column(ForeignKey("content_version.id"))
    language: Mapped[str] = mapped_column(Text)
    topic: Mapped[str | None] = mapped_column(Text)  # the consent it stands on; None for transactional
    campaign_id: Mapped[int | None] = mapped_column(BigInteger)
    sequence_id: Mapped[int | None] = mapped_column(BigInteger)
    contact_ids: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))  # a frozen audience, no rows yet
    time_zones: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # leaves when it is day in all of them
    size: Mapped[int] = mapped_column(BigInteger)
    left_out: Mapped[int] = mapped_column(
        server_default="0"
    )  # of `size`: skipped at a claim, or refused alone
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    too_late_at: Mapped[datetime | None]  # after this, sending would do more harm than good
    attempts: Mapped[int] = mapped_column(BigInteger, server_default="0")
    attempt: Mapped[uuid.UUID | None] = mapped_column(UUID)  # the fencing token of the attempt under way
    lease_until: Mapped[datetime | None]
    state_at: Mapped[datetime]
    provider_id: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)  # a code and a capped text, nothing personal
    settled_by: Mapped[str | None] = mapped_column(Text)


class Message(HasId, Base):
    """One email to one person. `state` is None while the batch speaks for it."""

    __tablename__ = "message"
    __table_args__ = (
        Index(
            "uq_message_step",
            "enrolment_id",
            "step",
            unique=True,
            postgresql_where=text("enrolment_id is not null"),
        ),
        Index(
            "uq_message_campaign",
            "campaign_id",
            "contact_id",
            unique=True,
            postgresql_where=text("campaign_id is not null"),
        ),
        Index("ix_message_batch", "batch_id"),
        Index("ix_message_contact", "contact_id", "created_at"),
    )

    # No foreign keys on these two: they doubled the cost of writing a thousand rows and locked each contact. The
    # statements that write messages read both numbers from the rows themselves, and neither kind is ever deleted.
    batch_id: Mapped[int] = mapped_column(BigInteger)
    contact_id: Mapped[int] = mapped_column(BigInteger)
    content_version_id: Mapped[int] = mapped_column(BigInteger)
    consent_record_id: Mapped[int | None] = mapped_column(BigInteger)
    enrolment_id: Mapped[int | None] = mapped_column(BigInteger)
    step: Mapped[int | None] = mapped_column(BigInteger)
    campaign_id: Mapped[int | None] = mapped_column(BigInteger)
    params: Mapped[dict[str, Any] | None]  # transactional only: link purposes with row ids, opaque references
    created_at: Mapped[datetime]
    state: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    state_at: Mapped[datetime | None]


class SendingControl(Base):
    """The one row that can stop everything, and the mark by which a copied database knows it is a copy."""

    __tablename__ = "sending_control"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    stopped_at: Mapped[datetime | None]
    stopped_by: Mapped[str | None] = mapped_column(Text)
    stop_reason: Mapped[str | None] = mapped_column(Text)
    throttled_until: Mapped[datetime | None]  # the provider asked everybody to wait
    per_minute: Mapped[int | None] = mapped_column(BigInteger)
    per_day: Mapped[int | None] = mapped_column(BigInteger)
    ramp_from: Mapped[datetime | None]  # first day of a young sending domain
    domain_caps: Mapped[
        dict[str, Any] | None
    ]  # emails per minute to one mailbox provider: {"gmail.com": 500}
    instance: Mapped[str | None] = mapped_column(Text)  # whose heart beats in `alive_at`
    alive_at: Mapped[datetime | None]


class StreamStop(Base):
    """A stream that a breaker stopped (too many bounces or complaints). Only a named person resumes it."""

    __tablename__ = "stream_stop"

    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class BreakerReset(Base):
    """From when on a stream's or campaign's bounces and complaints count: a person looked and let it go on."""

    __tablename__ = "breaker_reset"

    scope: Mapped[str] = mapped_column(Text, primary_key=True)  # "stream:prospect_edu", "campaign:12"
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Text)


class Pace(Base):
    """How much has left in a window of time: shared by all workers, and there after a restart."""

    __tablename__ = "pace"

    # "day", "minute", "to:gmail.com" (this minute), and "after:gmail.com": how far ahead the held ones are spread
    scope: Mapped[str] = mapped_column(Text, primary_key=True)
    window_start: Mapped[datetime]
    used: Mapped[int]


class PhiAttestation(HasId, Base):
    """A named person's statement that a transport may carry mail that tells someone is a patient."""

    __tablename__ = "phi_attestation"

    transport: Mapped[str] = mapped_column(Text)
    wording: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    demo: Mapped[bool] = mapped_column(Boolean, server_default="false")
