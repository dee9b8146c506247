"""The audit log. A trigger refuses changes of rows; a chain of hashes shows tampering."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base, HasId


class AuditEntry(HasId, Base):
    """One action or view. `detail` holds ids and codes, never names or addresses."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_object", "object_type", "object_id", "id"),)

    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)  # "staff:7", "key:3", "referrer:4", "public", "system"
    action: Mapped[str] = mapped_column(Text)
    object_type: Mapped[str | None] = mapped_column(Text)
    object_id: Mapped[int | None] = mapped_column(BigInteger)
    purpose: Mapped[str | None] = mapped_column(Text)
    ip_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    detail: Mapped[dict[str, Any] | None]
    proof: Mapped[bytes | None] = mapped_column(
        LargeBinary
    )  # see crm.audit.entry_proofs; None in earlier releases


class AuditLink(Base):
    """Link n of the chain: a hash over the hash before it and the content of the entry."""

    __tablename__ = "audit_link"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    entry_id: Mapped[int] = mapped_column(ForeignKey("audit_entry.id"), unique=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    mac: Mapped[bytes | None] = mapped_column(LargeBinary)  # with a key outside the database


class StaffAct(HasId, Base):
    """One act of staff that can be undone for a while."""

    __tablename__ = "staff_act"
    __table_args__ = (Index("ix_staff_act_undo_until", "undo_until"),)

    kind: Mapped[str] = mapped_column(Text)
    lead_id: Mapped[int | None] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    undo_until: Mapped[datetime] = mapped_column(server_default=text("now() + interval '1 hour'"))
    undone_at: Mapped[datetime | None]


class ActChange(HasId, Base):
    """One row that an act changed, with the changed columns before and after; a trigger writes it.

    `before` is None for a new row, `after` for a deleted one.
    """

    __tablename__ = "act_change"
    __table_args__ = (Index("ix_act_change_act", "act_id", "id"),)

    act_id: Mapped[int] = mapped_column(ForeignKey("staff_act.id", ondelete="CASCADE"))
    table_name: Mapped[str] = mapped_column(Text)
    row_key: Mapped[dict[str, Any]]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
