"""What the portal keeps beside a referral: who sent it, drafts, attachments, messages."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import ENCRYPTED, Base, Encrypted, HasId


class Submission(Base):
    """Who of the practice sent a referral, and the text by which they said that the patient knows of it."""

    __tablename__ = "portal_submission"

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("portal_person.id"))
    informed: Mapped[str] = mapped_column(Text)  # wording and version
    informed_hash: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime]


class Draft(Base):
    """A draft of a referral: one per portal user, encrypted, deleted after a week."""

    __tablename__ = "referral_draft"

    person_id: Mapped[int] = mapped_column(ForeignKey("portal_person.id"), primary_key=True)
    answers: Mapped[str] = mapped_column(Encrypted)  # JSON: field -> what was typed
    saved_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Attachment(HasId, Base):
    """A file of a referral, encrypted, never mailed."""

    __tablename__ = "referral_attachment"
    __table_args__ = (Index("ix_referral_attachment_lead", "lead_id", "id"),)

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    name: Mapped[str] = mapped_column(Encrypted)
    kind: Mapped[str] = mapped_column(Text)  # media type, as its first bytes say
    size: Mapped[int]
    content: Mapped[bytes] = mapped_column(
        LargeBinary, deferred=True, info=ENCRYPTED
    )  # sealed by crm.core.crypto
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class PortalMessage(HasId, Base):
    """One message between a practice and the clinic about a referral."""

    __tablename__ = "portal_message"
    __table_args__ = (Index("ix_portal_message_lead", "lead_id", "id"),)

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id"))
    from_clinic: Mapped[bool]
    actor: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Encrypted)
    at: Mapped[datetime]
