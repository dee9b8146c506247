"""Provider webhooks: whole posts as received, and single events."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, EnumText, HasId
from crm.mailer import EventKind


class Receipt(HasId, Base):
    """One verified webhook post, stored before it is applied."""

    __tablename__ = "webhook_receipt"
    __table_args__ = (
        Index("ix_webhook_receipt_open", "id", postgresql_where=text("applied_at is null")),
        Index("ix_webhook_receipt_unclear", "received_at", postgresql_where=text("unclear is not null")),
    )

    received_at: Mapped[datetime]
    body: Mapped[bytes] = mapped_column(
        LargeBinary, info={"encrypted": "sealed"}
    )  # where this column says so
    sealed: Mapped[bool] = mapped_column(server_default="false")  # the body is compressed and encrypted
    applied_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    failures: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    unclear: Mapped[dict[str, Any] | None]  # what was not understood -> how often; None while all was


class ProviderEvent(Base):
    """One event about one message, stored once."""

    __tablename__ = "provider_event"
    __table_args__ = (
        Index("ix_provider_event_message", "message_id", "at"),
        Index(
            "ix_provider_event_grave",
            "received_at",
            "message_id",
            postgresql_where=text("kind in ('bounced','complained')"),
        ),
        Index("ix_provider_event_blocked", "address_index", "at", postgresql_where=text("kind = 'blocked'")),
        Index("ix_provider_event_words", "received_at", postgresql_where=text("detail is not null")),
    )

    event_id: Mapped[str] = mapped_column(Text, primary_key=True)  # the provider's own id
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[EventKind] = mapped_column(EnumText(EventKind))
    at: Mapped[datetime]
    received_at: Mapped[datetime]
    detail: Mapped[str | None] = mapped_column(Text)  # foreign text: capped, shown only escaped
    address_index: Mapped[bytes | None] = mapped_column(
        LargeBinary
    )  # of blocked mail: refusals count by address


class Reconciliation(HasId, Base):
    """One comparison of our stops with the provider's lists."""

    __tablename__ = "reconciliation"

    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    since: Mapped[datetime | None]  # entries older than this were compared before
    seen: Mapped[dict[str, Any] | None]  # list -> how many entries were looked at
    added: Mapped[int] = mapped_column(server_default="0")  # stopped there and not here
    pushed: Mapped[int] = mapped_column(server_default="0")  # stopped here and not there
    lifted: Mapped[int] = mapped_column(
        server_default="0"
    )  # stopped there after the person had come back here
    error: Mapped[str | None] = mapped_column(Text)
