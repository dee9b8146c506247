"""The ledger of sent mail. A message row is written once; its batch moves, until the message has a state of its own."""

import uuid
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, EnumText, HasId
from crm.messages.rules import Answer, BatchKind, BatchState, MessageState, StreamName


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
        Index("ix_batch_sequence", "sequence_id", "id", postgresql_where=text("sequence_id is not null")),
        Index("ix_batch_campaign", "campaign_id", "id", postgresql_where=text("campaign_id is not null")),
        Index("ix_batch_version", "content_version_id", "campaign_id"),
        Index(
            "ix_batch_campaign_open",
            "campaign_id",
            "state",
            postgresql_where=text("campaign_id is not null and state in ('ready','held','sending')"),
        ),
    )

    kind: Mapped[BatchKind] = mapped_column(EnumText(BatchKind))
    stream: Mapped[StreamName] = mapped_column(EnumText(StreamName))
    transport: Mapped[str] = mapped_column(Text)  # sendgrid, smtp
    content_version_id: Mapped[int] = mapped_column(ForeignKey("content_version.id"))
    language: Mapped[str] = mapped_column(Text)
    topic: Mapped[str | None] = mapped_column(Text)  # the consent topic; None for transactional
    campaign_id: Mapped[int | None] = mapped_column(BigInteger)
    sequence_id: Mapped[int | None] = mapped_column(BigInteger)
    contact_ids: Mapped[list[int] | None] = mapped_column(
        ARRAY(BigInteger)
    )  # a frozen audience without message rows
    time_zones: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # sent when it is day in all of them
    send_window: Mapped[dict[str, Any] | None]  # of a sequence: hours and weekdays where each person is
    size: Mapped[int] = mapped_column(BigInteger)
    left_out: Mapped[int] = mapped_column(
        server_default="0"
    )  # of `size`: skipped at a claim, or refused alone
    state: Mapped[BatchState] = mapped_column(EnumText(BatchState))
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
    passes_stop: Mapped[bool] = mapped_column(Boolean, server_default="false")  # alert emails to staff


class Message(HasId, Base):
    """One email to one person. While `state` is None, the state of the batch holds."""

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
    state: Mapped[MessageState | None] = mapped_column(EnumText(MessageState))
    reason: Mapped[str | None] = mapped_column(Text)
    state_at: Mapped[datetime | None]


class SendingControl(Base):
    """The one row with the kill switch, the caps, and the mark by which a copied database is recognized."""

    __tablename__ = "sending_control"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    stopped_at: Mapped[datetime | None]
    stopped_by: Mapped[str | None] = mapped_column(Text)
    stop_reason: Mapped[str | None] = mapped_column(Text)
    throttled_until: Mapped[datetime | None]  # the provider asked for a pause
    per_minute: Mapped[int | None] = mapped_column(BigInteger)
    per_day: Mapped[int | None] = mapped_column(BigInteger)
    ramp_from: Mapped[datetime | None]  # first day of a new sending domain
    domain_caps: Mapped[
        dict[str, Any] | None
    ]  # emails per minute to one mailbox provider: {"gmail.com": 500}
    instance: Mapped[str | None] = mapped_column(Text)  # the installation that writes `alive_at`
    alive_at: Mapped[datetime | None]
    place: Mapped[str | None] = mapped_column(Text)  # where the data is: the server's folder, or its address
    mark_floor: Mapped[int | None]  # the number from which the last release counts


class StreamStop(Base):
    """A stream that a circuit breaker stopped (too many bounces or complaints). Only a named person resumes it."""

    __tablename__ = "stream_stop"

    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class BreakerReset(Base):
    """The moment from which bounces and complaints of a stream or campaign count: a person reset its breaker."""

    __tablename__ = "breaker_reset"

    scope: Mapped[str] = mapped_column(Text, primary_key=True)  # "stream:prospect_edu", "campaign:12"
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Text)


class Pace(Base):
    """How many emails were sent in a window of time: shared by all workers, kept over restarts."""

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


class SendMark(Base):
    """The number of one claim. The newest is compared with the mark outside the database; older ones are removed."""

    __tablename__ = "send_mark"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=False), primary_key=True)


class ClaimedBatch(NamedTuple):
    """A batch in `sending`, and the pacing limits that hold."""

    id: int
    kind: str
    stream: str
    transport: str
    content_version_id: int
    language: str
    topic: str | None
    campaign_id: int | None
    frozen: bool
    attempts: int
    per_minute: int | None
    per_day: int | None
    ramp_from: datetime | None
    domain_caps: dict[str, int] | None
    send_window: dict[str, Any] | None
    turn: str | None  # of claims while broadcasts run; None where none was needed


class MessageAnswer(Base):
    """What a person said with a button in one email. Rows are only added."""

    __tablename__ = "message_answer"
    __table_args__ = (CheckConstraint("answer in ('call','not_now','guide')", name="answer"),)

    message_id: Mapped[int] = mapped_column(ForeignKey("message.id"), primary_key=True)
    answer: Mapped[Answer] = mapped_column(EnumText(Answer), primary_key=True)
    at: Mapped[datetime]


class Addressee(NamedTuple):
    """One person a batch goes to."""

    message_id: int
    contact_id: int
    email: str
    first_name: str
    time_zone: str
    day: date | None  # of the opt-in
    params: dict[str, Any] | None  # of a transactional email, see `envelope.from_params`
    touched_at: datetime | None  # when staff were last in touch, if that is recent


class StepEmail(NamedTuple):
    """One email of a sequence step that is to be queued."""

    contact_id: int
    consent_record_id: int | None
    enrolment_id: int
    step: int
