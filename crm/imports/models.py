"""Imports: uploaded files of people. Their content is encrypted and deleted after a week."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import ENCRYPTED, Base, Encrypted, EnumText, HasId


class ImportState(StrEnum):
    """The state of an import. A check writes nothing; an import and its undo go on where they stopped."""

    UPLOADED = "uploaded"
    CHECKING = "checking"
    CHECKED = "checked"
    IMPORTING = "importing"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    FAILED = "failed"


class ImportRun(HasId, Base):
    """One uploaded file, from upload to undo."""

    __tablename__ = "import_run"
    __table_args__ = (
        CheckConstraint(
            "state in ('uploaded','checking','checked','importing','done','undoing','undone','failed')",
            name="state",
        ),
        CheckConstraint("kind in ('contacts','leads')", name="kind"),
        Index("ix_import_run_state", "state", "beat_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Encrypted)  # of the file
    state: Mapped[ImportState] = mapped_column(EnumText(ImportState))
    encoding: Mapped[str] = mapped_column(Text)
    delimiter: Mapped[str] = mapped_column(Text)
    header: Mapped[str] = mapped_column(Encrypted)  # JSON list
    mapping: Mapped[dict[str, Any]]  # column number -> field
    size: Mapped[int]  # bytes
    rows: Mapped[int]  # an estimate until they are counted
    done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    new: Mapped[int] = mapped_column(BigInteger, server_default="0")
    known: Mapped[int] = mapped_column(BigInteger, server_default="0")
    duplicates: Mapped[int] = mapped_column(BigInteger, server_default="0")
    errors: Mapped[int] = mapped_column(BigInteger, server_default="0")
    kept: Mapped[int] = mapped_column(
        BigInteger, server_default="0"
    )  # not undone, because staff worked on them since
    failure: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    beat_at: Mapped[datetime]  # last sign of progress
    finished_at: Mapped[datetime | None]


class ImportPart(Base):
    """A piece of the file, encrypted."""

    __tablename__ = "import_part"

    run_id: Mapped[int] = mapped_column(ForeignKey("import_run.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary, info=ENCRYPTED)


class ImportBatch(Base):
    """The result of up to a thousand rows: records created, and refused rows (JSON: [[line, words, cells]])."""

    __tablename__ = "import_batch"

    run_id: Mapped[int] = mapped_column(ForeignKey("import_run.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    contact_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    lead_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    problems: Mapped[str | None] = mapped_column(Encrypted)


class ImportMapping(Base):
    """The columns a staff member chose, by name, remembered for the next file."""

    __tablename__ = "import_mapping"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    mapping: Mapped[dict[str, Any]]
