"""Referral uploads: CSV files of referrals from practices, encrypted and deleted after a week."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import ENCRYPTED, Base, Encrypted, EnumText, HasId


class UploadState(StrEnum):
    """The state of a file: uploaded, its columns chosen, its rows being sent, all rows sent."""

    UPLOADED = "uploaded"
    MAPPED = "mapped"
    TAKING = "taking"
    DONE = "done"


class RowState(StrEnum):
    """The state of a row: to be sent, sent, already sent before, not sent for a problem or as a duplicate."""

    WANTED = "wanted"
    TAKEN = "taken"
    KNOWN = "known"
    REFUSED = "refused"
    DOUBLE = "double"


class ReferralUpload(HasId, Base):
    """One file of a practice."""

    __tablename__ = "referral_upload"
    __table_args__ = (
        CheckConstraint("state in ('uploaded','mapped','taking','done')", name="state"),
        Index("ix_referral_upload_practice", "practice_id", "id"),
        Index("ix_referral_upload_expires", "expires_at"),
    )

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("portal_person.id"))  # who uploaded it
    state: Mapped[UploadState] = mapped_column(EnumText(UploadState))
    name: Mapped[str] = mapped_column(Encrypted)  # of the file
    content: Mapped[bytes | None] = mapped_column(
        LargeBinary, deferred=True, info=ENCRYPTED
    )  # sealed by crm.core.crypto
    rows: Mapped[int]
    mapping: Mapped[dict[str, Any]]  # column number -> field
    clinician_id: Mapped[int | None] = mapped_column(
        ForeignKey("clinician.id")
    )  # where a row names no clinician
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("portal_person.id"))  # who confirmed and sent it
    language: Mapped[str | None] = mapped_column(Text)  # of the page on which it was confirmed
    created_at: Mapped[datetime]
    beat_at: Mapped[datetime]  # last sign of progress
    expires_at: Mapped[datetime]


class ReferralUploadRow(Base):
    """The result of one row. The key allows one per line, so that a second submit changes nothing."""

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
    state: Mapped[RowState] = mapped_column(EnumText(RowState))
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id"))
    reason: Mapped[str | None] = mapped_column(Text)  # codes and fields, never what the row holds


class ReferralColumns(Base):
    """The columns a practice chose, by name, remembered for its next file."""

    __tablename__ = "referral_columns"

    practice_id: Mapped[int] = mapped_column(ForeignKey("practice.id"), primary_key=True)
    mapping: Mapped[str] = mapped_column(
        Encrypted
    )  # JSON; a file without a header has a patient in its first line
