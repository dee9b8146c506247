"""Files of referrals from practices. A file is encrypted, and all that is kept of it goes after a week."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, Encrypted, HasId


class ReferralUpload(HasId, Base):
    """One file of a practice, from upload to its last row."""

    __tablename__ = "referral_upload"
    __table_args__ = (
        CheckConstraint("state in ('uploaded','mapped','taking','done')", name="state"),
        Index("ix_referral_upload_practice", "practice_id", "id"),
        Index("ix_referral_upload_expires", "expires_at"),
    )

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("portal_person.id"))  # who uploaded it
    state: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Encrypted)  # of the file
    content: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)  # sealed by crm.core.crypto
    rows: Mapped[int]
    mapping: Mapped[dict[str, Any]]  # column number -> field
    clinician_id: Mapped[int | None] = mapped_column(ForeignKey("clinician.id"))  # where a row names nobody
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("portal_person.id"))  # who confirmed and sent it
    language: Mapped[str | None] = mapped_column(Text)  # of the page on which it was confirmed
    created_at: Mapped[datetime]
    beat_at: Mapped[datetime]  # last sign of progress
    expires_at: Mapped[datetime]


class ReferralUploadRow(Base):
    """What becomes of one row. There is one per line, whatever is pressed twice."""

    __tablename__ = "referral_upload_row"
    __table_args__ = (
        CheckConstraint("state in ('wanted','taken','known','refused','double')", name="state"),
        CheckConstraint("(state in ('taken','known')) = (lead_id is not null)", name="lead"),
        Index("ix_referral_upload_row_lead", "lead_id"),
    )

    upload_id: Mapped[int] = mapped_column(
        ForeignKey("referral_upload.id", ondelete="CASCADE"), primary_key=True
    )
    line: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id"))
    reason: Mapped[str | None] = mapped_column(Text)  # codes and fields, never what the row holds


class ReferralColumns(Base):
    """What a practice chose for columns, by the columns' names, for its next file."""

    __tablename__ = "referral_columns"

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"), primary_key=True)
    mapping: Mapped[str] = mapped_column(
        Encrypted
    )  # JSON; a file without names has a patient in its first line
