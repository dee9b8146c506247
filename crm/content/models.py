"""Email content: items, their immutable versions, and the approvals that bind to a version's hash."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.core.db import Base, Encrypted, EnumText, HasId


class ContentItem(HasId, Base):
    """One email, block or page, in any number of languages and versions."""

    __tablename__ = "content_item"
    __table_args__ = (CheckConstraint("kind in ('email','transactional','block','page')", name="kind"),)

    key: Mapped[str] = mapped_column(Text, unique=True)  # "contact-request/01-welcome", "block/off-label"
    kind: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    stream: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]

    @property
    def label(self) -> str:
        """The name of a block, else the purpose: what people read where there is no subject."""
        return self.title.replace("-", " ").capitalize() if self.kind == "block" else self.title


class VersionState(StrEnum):
    """The state of a version. What it is worth today is `rules.Status`."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    RETIRED = "retired"


class ContentVersion(HasId, Base):
    """The text of an item in one language. `source` never changes once it was approved (a trigger refuses it)."""

    __tablename__ = "content_version"
    __table_args__ = (
        UniqueConstraint("item_id", "language", "number"),
        CheckConstraint("state in ('draft','in_review','approved','retired')", name="state"),
        Index(
            "ix_content_version_live",
            "item_id",
            "language",
            "number",
            postgresql_where=text("state = 'approved'"),
        ),
    )

    item_id: Mapped[int] = mapped_column(ForeignKey("content_item.id"))
    language: Mapped[str] = mapped_column(Text)
    number: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[VersionState] = mapped_column(EnumText(VersionState))
    source: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text, server_default="")
    hash: Mapped[bytes] = mapped_column(LargeBinary)  # over source, blocks and layout, as approved
    author: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    submitted_by: Mapped[str | None] = mapped_column(Text)
    submitted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")
    # of a block: mail with the words before it waits from the moment it is submitted
    safety: Mapped[bool] = mapped_column(server_default=text("false"), default=False)

    item: Mapped[ContentItem] = relationship(lazy="joined", innerjoin=True)

    @property
    def name(self) -> str:
        """What people read: the subject, for a block its name."""
        return self.subject or self.item.label

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own form


class Approval(HasId, Base):
    """One reviewer's yes to exactly these bytes."""

    __tablename__ = "content_approval"
    __table_args__ = (CheckConstraint("role in ('clinical','compliance')", name="role"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("content_version.id"), index=True)
    role: Mapped[str] = mapped_column(Text)
    reviewer: Mapped[str] = mapped_column(Text)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Comment(HasId, Base):
    """What a reviewer or the author says about one sentence (or about the whole: `sentence` is empty)."""

    __tablename__ = "content_comment"
    __table_args__ = (CheckConstraint("kind in ('comment','changes')", name="kind"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("content_version.id"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    sentence: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    settled_by: Mapped[str | None] = mapped_column(Text)
    settled_at: Mapped[datetime | None]


class AnswerVerdict(StrEnum):
    """A reviewer's answer about a sentence that the claims check is not sure about."""

    NO_CLAIM = "no_claim"
    SUPPORTED = "supported"  # by a claim of the text that has its source
    CLAIM = "claim"  # it must be changed


class Answer(HasId, Base):
    """What a reviewer answered about one sentence. The row never changes; a newer one about the same sentence counts."""

    __tablename__ = "content_answer"
    __table_args__ = (
        CheckConstraint("verdict in ('no_claim','supported','claim')", name="verdict"),
        CheckConstraint("(verdict = 'supported') = (claim <> '')", name="claim"),
        CheckConstraint("reason <> ''", name="reason"),
        CheckConstraint("place in ('body','subject')", name="place"),
        Index("ix_content_answer_digest", "digest", text("id desc")),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary)  # over the sentence and the one before it
    language: Mapped[str] = mapped_column(Text)
    place: Mapped[str] = mapped_column(Text)
    sentence: Mapped[str] = mapped_column(Text)
    before: Mapped[str] = mapped_column(Text)
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    verdict: Mapped[AnswerVerdict] = mapped_column(EnumText(AnswerVerdict))
    claim: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    version_id: Mapped[int] = mapped_column(ForeignKey("content_version.id"), index=True)
    author: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class ContentException(HasId, Base):
    """A finding of the claims check about one sentence that two people let pass until a day. Its facts never change."""

    __tablename__ = "content_exception"
    __table_args__ = (
        CheckConstraint("reason <> ''", name="reason"),
        CheckConstraint("ends_at > asked_at and ends_at <= asked_at + interval '180 days'", name="ends_at"),
        CheckConstraint("(clinician is null) = (clinician_at is null)", name="clinician"),
        CheckConstraint("(admin is null) = (admin_at is null)", name="admin"),
        CheckConstraint("clinician <> admin", name="two_people"),
        CheckConstraint("(ended_by is null) = (ended_at is null)", name="ended"),
        Index("ix_content_exception_digest", "digest", text("id desc")),
    )

    digest: Mapped[bytes] = mapped_column(
        LargeBinary
    )  # over the item, the language, the rule and the sentence
    version_id: Mapped[int] = mapped_column(ForeignKey("content_version.id"), index=True)
    language: Mapped[str] = mapped_column(Text)
    rule: Mapped[str] = mapped_column(Text)
    sentence: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    asked_by: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    clinician: Mapped[str | None] = mapped_column(Text)
    clinician_at: Mapped[datetime | None]
    admin: Mapped[str | None] = mapped_column(Text)
    admin_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[datetime | None]

    @property
    def signatures(self) -> dict[str, str]:
        """Each signature that is given, by role."""
        given = {"clinician": self.clinician, "admin": self.admin}
        return {role: person for role, person in given.items() if person is not None}

    @property
    def is_signed(self) -> bool:
        """Whether both people signed."""
        return self.clinician is not None and self.admin is not None


class Autosave(HasId, Base):
    """An earlier text of a draft."""

    __tablename__ = "content_autosave"

    version_id: Mapped[int] = mapped_column(ForeignKey("content_version.id"), index=True)
    source: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class Authorization(HasId, Base):
    """A patient's signed authorization to quote them. The row never changes, except that a revocation is added."""

    __tablename__ = "content_authorization"
    __table_args__ = (
        CheckConstraint("ends_on > signed_on", name="ends_on"),
        CheckConstraint("(revoked_at is null) = (revoked_by is null)", name="revoked"),
    )

    person: Mapped[str] = mapped_column(Encrypted)
    kept_at: Mapped[str] = mapped_column(Encrypted)  # where the signed paper lies
    language: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = mapped_column(Text)
    signed_on: Mapped[date] = mapped_column(Date)
    ends_on: Mapped[date] = mapped_column(Date)
    stated: Mapped[list[str]] = mapped_column(ARRAY(Text))
    recorded_by: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime]
    revoked_by: Mapped[str | None] = mapped_column(Text)
    revoked_at: Mapped[datetime | None]

    @property
    def reference(self) -> str:
        """What an email names it by."""
        return f"T-{self.id}"
