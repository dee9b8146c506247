"""Documents of leads and contacts, encrypted; their content in a table of its own."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import ENCRYPTED, Base, Encrypted, EnumText, HasId

INBOX = "lead_id is null and contact_id is null and removed_at is null"
UNSCANNED = "scan = 'none' and removed_at is null"


class Scan(StrEnum):
    """What the virus scanner said."""

    NONE = "none"  # not scanned, or not yet
    CLEAN = "clean"
    INFECTED = "infected"


class Document(HasId, Base):
    """One file: of a lead, of a contact, or of neither: a fax that waits in the inbox."""

    __tablename__ = "document"
    __table_args__ = (
        CheckConstraint("num_nonnulls(lead_id, contact_id) <= 1", name="owner"),
        CheckConstraint("source in ('staff','fax')", name="source"),
        CheckConstraint("scan in ('none','clean','infected')", name="scan"),
        Index("ix_document_lead", "lead_id", "id", postgresql_where=text("lead_id is not null")),
        Index("ix_document_contact", "contact_id", "id", postgresql_where=text("contact_id is not null")),
        Index("ix_document_inbox", "id", postgresql_where=text(INBOX)),
        Index("ix_document_unscanned", "id", postgresql_where=text(UNSCANNED)),
        Index("ix_document_removed", "removed_at", postgresql_where=text("removed_at is not null")),
        Index("uq_document_fax", "fax_key", unique=True, postgresql_where=text("fax_key is not null")),
    )

    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id"))
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id"))
    name: Mapped[str] = mapped_column(Encrypted)
    kind: Mapped[str] = mapped_column(Text)  # media type, as its first bytes say
    size: Mapped[int]
    source: Mapped[str] = mapped_column(Text)  # staff, fax
    fax_key: Mapped[bytes | None] = mapped_column(LargeBinary)  # a fax is taken in once
    scan: Mapped[Scan] = mapped_column(EnumText(Scan), server_default="none")
    scanned_at: Mapped[datetime | None]
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class DocumentContent(Base):
    """The bytes of a document, sealed by crm.core.crypto."""

    __tablename__ = "document_content"

    document_id: Mapped[int] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary, info=ENCRYPTED)
