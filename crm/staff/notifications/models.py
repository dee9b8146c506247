"""Notifications of staff."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, EnumText, HasId


class NotificationKind(StrEnum):
    """Why a member of staff is notified."""

    ASSIGNED = "assigned"
    MENTIONED = "mentioned"
    REPLY = "reply"  # a practice wrote
    REVIEW = "review"  # a text waits for review
    BREACH = "breach"  # a deadline was missed
    MONTH = "month"  # the numbers of a month


class Notification(HasId, Base):
    """One notification of one member of staff. `subject` is a reference, the name of a text, or numbers.

    It never names a person.
    """

    __tablename__ = "notification"
    __table_args__ = (
        CheckConstraint("kind in ('assigned','mentioned','reply','review','breach','month')", name="kind"),
        Index("ix_notification_user", "user_id", "id"),
        Index(
            "uq_notification_unread",
            "user_id",
            "kind",
            "link",
            unique=True,
            postgresql_where=text("read_at is null"),
        ),
        Index(
            "ix_notification_digest", "at", postgresql_where=text("read_at is null and emailed_at is null")
        ),
        Index("ix_notification_emailed", "emailed_at", postgresql_where=text("emailed_at is not null")),
        Index("ix_notification_read", "read_at", postgresql_where=text("read_at is not null")),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    kind: Mapped[NotificationKind] = mapped_column(EnumText(NotificationKind))
    subject: Mapped[str] = mapped_column(Text)
    link: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    read_at: Mapped[datetime | None]
    emailed_at: Mapped[datetime | None]


class NotificationChoice(Base):
    """What a member of staff chose for one kind. Without a row: in the console and by email."""

    __tablename__ = "notification_choice"
    __table_args__ = (
        CheckConstraint("kind in ('assigned','mentioned','reply','review','breach','month')", name="kind"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[NotificationKind] = mapped_column(EnumText(NotificationKind), primary_key=True)
    shown: Mapped[bool]
    emailed: Mapped[bool]
