"""Exports: files of people for download. Their content is encrypted and deleted after a day."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import ENCRYPTED, Base, EnumText, HasId


class ExportState(StrEnum):
    """The state of an export."""

    ASKED = "asked"
    READY = "ready"
    FAILED = "failed"


class Export(HasId, Base):
    """A file of people for one staff member and a stated purpose, kept for a day."""

    __tablename__ = "export"
    __table_args__ = (CheckConstraint("state in ('asked','ready','failed')", name="state"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    kind: Mapped[str] = mapped_column(Text)
    form: Mapped[str] = mapped_column(Text)  # csv, xlsx
    clinical: Mapped[bool]
    purpose: Mapped[str] = mapped_column(Text)
    state: Mapped[ExportState] = mapped_column(EnumText(ExportState))
    rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class ExportPart(Base):
    """A piece of an exported file, encrypted."""

    __tablename__ = "export_part"

    export_id: Mapped[int] = mapped_column(ForeignKey("export.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary, info=ENCRYPTED)
