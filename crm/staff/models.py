"""Staff accounts and roles, API keys, alerts, and replies kept for repeated requests."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from flask_security import RoleMixin, UserMixin
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
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


class RecordScope(StrEnum):
    """Which leads and people a role sees, the widest first."""

    ALL = "all"
    TEAM = "team"  # of the person's team, and those that nobody owns
    OWN = "own"


class Role(HasId, RoleMixin, Base):
    """What a person may do: admin, marketer, front_desk, clinician, viewer."""

    __tablename__ = "role"
    __table_args__ = (CheckConstraint("scope in ('all','team','own')", name="scope"),)

    name: Mapped[str] = mapped_column(Text, unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    permissions: Mapped[list[str] | None] = mapped_column(MutableList.as_mutable(ARRAY(Text)))
    scope: Mapped[RecordScope] = mapped_column(EnumText(RecordScope), server_default="all")


class User(HasId, UserMixin, Base):
    """A member of staff. The columns are those flask-security asks for, and a name and a time zone."""

    __tablename__ = "user"
    __table_args__ = (Index("ix_user_team", "team", postgresql_where=text("team is not null")),)

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
    tf_counter: Mapped[int | None] = mapped_column(BigInteger)  # of the last code used: each is valid once
    mf_recovery_codes: Mapped[list[str] | None] = mapped_column(MutableList.as_mutable(ARRAY(Text)))  # hashes
    time_zone: Mapped[str | None] = mapped_column(Text)
    team: Mapped[str | None] = mapped_column(Text)  # people of one team have the same name here
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
    made_by: Mapped[str | None] = mapped_column(Text)  # the actor; None: the owner of the mailbox asked


class PasskeyRow(HasId, Base):
    """The columns of a passkey; only its public key is stored."""

    __abstract__ = True
    __table_args__ = (
        # WebAuthn Level 2, section 4 "Credential ID": at most 1023 bytes; section 6.1: the counter has 32 bits
        CheckConstraint("octet_length(credential_id) between 1 and 1023", name="credential_id"),
        CheckConstraint("sign_count between 0 and 4294967295", name="sign_count"),
    )

    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True, sort_order=1)
    public_key: Mapped[bytes] = mapped_column(LargeBinary, sort_order=1)  # COSE_Key
    sign_count: Mapped[int] = mapped_column(BigInteger, sort_order=1)  # always 0 if the device does not count
    name: Mapped[str] = mapped_column(Text, sort_order=1)
    created_at: Mapped[datetime] = mapped_column(sort_order=1)
    last_used_at: Mapped[datetime | None] = mapped_column(sort_order=1)


class StaffPasskey(PasskeyRow):
    """A passkey of a member of staff."""

    __tablename__ = "staff_passkey"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)


class StaffIdentity(HasId, Base):
    """Who a member of staff is at the provider of single sign-on."""

    __tablename__ = "staff_identity"
    __table_args__ = (UniqueConstraint("issuer", "subject"), UniqueConstraint("user_id", "issuer"))

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    issuer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    linked_at: Mapped[datetime]


class StaffSession(HasId, Base):
    """A signed-in browser of a member of staff. The cookie holds the key, this row its hash."""

    __tablename__ = "staff_session"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    browser: Mapped[str] = mapped_column(Text)  # such as "Firefox on Windows"
    via: Mapped[str] = mapped_column(Text)  # password, code, passkey, link, sso
    begun_by: Mapped[str | None] = mapped_column(Text)  # the actor who made the link, unless its owner asked
    begun_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class SecretTry(Base):
    """Tries at secrets by one account or network address; `key` is a blind index of it."""

    __tablename__ = "secret_try"

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    count: Mapped[int]
    forget_at: Mapped[datetime] = mapped_column(index=True)
    wait_until: Mapped[datetime | None]


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
    expires_at: Mapped[datetime | None]


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
