"""Staff accounts and roles, API keys, alerts, and replies kept for repeated requests."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from flask_security import RoleMixin, UserMixin
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.core.db import Base, EnumText, HasId

user_role = Table(
    "user_role",
    Base.metadata,
    Column("user_id", ForeignKey("user.id"), primary_key=True),
    Column("role_id", ForeignKey("role.id"), primary_key=True),
)


class Role(HasId, RoleMixin, Base):
    """What a person may do: admin, marketer, front_desk, clinician, viewer."""

    __tablename__ = "role"

    name: Mapped[str] = mapped_column(Text, unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    permissions: Mapped[list[str] | None] = mapped_column(MutableList.as_mutable(ARRAY(Text)))


class User(HasId, UserMixin, Base):
    """A member of staff. The columns are those flask-security asks for, and a name and a time zone."""

    __tablename__ = "user"

    email: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    password: Mapped[str | None] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(Boolean, server_default="true")
    fs_uniquifier: Mapped[str] = mapped_column(Text, unique=True)
    confirmed_at: Mapped[datetime | None]
    last_login_at: Mapped[datetime | None]  # type: ignore[assignment]
    current_login_at: Mapped[datetime | None]  # type: ignore[assignment]
    last_login_ip: Mapped[str | None] = mapped_column(Text)
    current_login_ip: Mapped[str | None] = mapped_column(Text)
    login_count: Mapped[int | None] = mapped_column(BigInteger)  # type: ignore[assignment]
    tf_primary_method: Mapped[str | None] = mapped_column(Text)
    tf_totp_secret: Mapped[str | None] = mapped_column(Text)
    tf_phone_number: Mapped[str | None] = mapped_column(Text)
    mf_recovery_codes: Mapped[list[str] | None] = mapped_column(MutableList.as_mutable(ARRAY(Text)))
    time_zone: Mapped[str | None] = mapped_column(Text)
    alert_emails: Mapped[bool] = mapped_column(Boolean, server_default="false")  # gets emails about alerts
    practice_id: Mapped[int | None] = mapped_column(BigInteger)  # set for people of a referring practice
    demo: Mapped[bool] = mapped_column(Boolean, server_default="false")
    created_at: Mapped[datetime]

    roles: Mapped[list[Role]] = relationship(secondary=user_role, lazy="selectin")  # type: ignore[assignment]


class OneTime(HasId, Base):
    """The columns of a link that works once."""

    __abstract__ = True

    made_at: Mapped[datetime] = mapped_column(sort_order=1)
    expires_at: Mapped[datetime] = mapped_column(sort_order=1)
    used_at: Mapped[datetime | None] = mapped_column(sort_order=1)


class SignInLink(OneTime):
    """A link that signs a member of staff in."""

    __tablename__ = "sign_in_link"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)


class ApiKey(HasId, Base):
    """A key for another system. Only its hash is kept."""

    __tablename__ = "api_key"

    name: Mapped[str] = mapped_column(Text)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    hint: Mapped[str] = mapped_column(Text)  # the first characters, to tell keys apart
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    practice_id: Mapped[int | None] = mapped_column(BigInteger)  # limits the key to one referring practice
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class KeptReply(Base):
    """The reply to a request with an Idempotency-Key, kept to be repeated."""

    __tablename__ = "kept_reply"

    caller: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None] = mapped_column(BigInteger)
    reply: Mapped[dict[str, Any] | None]
    at: Mapped[datetime]


class AlertLevel(StrEnum):
    """How urgent an alert is, the worst first."""

    DANGER = "danger"
    WARNING = "warning"
    INFO = "info"


class Alert(HasId, Base):
    """Something a member of staff must look at. One open alert per key; it has an owner and an end."""

    __tablename__ = "alert"
    __table_args__ = (Index("uq_alert_open", "key", unique=True, postgresql_where=text("closed_at is null")),)

    key: Mapped[str] = mapped_column(Text)
    level: Mapped[AlertLevel] = mapped_column(EnumText(AlertLevel))
    text: Mapped[str] = mapped_column(Text)  # words without personal data
    link: Mapped[str | None] = mapped_column(Text)
    raised_at: Mapped[datetime]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    emailed_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None] = mapped_column(Text)

    owner: Mapped[User | None] = relationship(lazy="joined")
