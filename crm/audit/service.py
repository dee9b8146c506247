"""The audit log: recording entries, sealing them into the hash chain, verifying it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import insert, select, text

from crm.audit import chain
from crm.audit.chain import Content, Finding, FindingKind, Link
from crm.audit.models import AuditEntry, AuditLink
from crm.core import clock
from crm.core.db import db

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Acting:
    """The actor of this request, job or command."""

    actor: str = "system"
    ip_index: bytes | None = None


_acting: ContextVar[Acting] = ContextVar("acting", default=Acting())  # noqa: B039 - frozen


@contextmanager
def acting(actor: str, *, ip_index: bytes | None = None) -> Iterator[None]:
    """Set the actor ("staff:7", "key:3", "referrer:4", "public", "system") for the block."""
    token = _acting.set(Acting(actor=actor, ip_index=ip_index))
    try:
        yield
    finally:
        _acting.reset(token)


def current() -> Acting:
    """Return the current actor."""
    return _acting.get()


def record(
    action: str,
    *,
    object_type: str | None = None,
    object_id: int | None = None,
    purpose: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Record one action or view by the current actor. `detail` takes ids and codes, never personal data."""
    who = current()
    db.session.add(
        AuditEntry(
            at=clock.now(),
            actor=who.actor,
            action=action,
            object_type=object_type,
            object_id=object_id,
            purpose=purpose,
            ip_index=who.ip_index,
            detail=detail,
        )
    )


def record_sql(action: str, object_type: str, *, rows: str) -> str:
    """Return SQL that records an action on each id of `rows`, to be part of the statement that does it.

    Its parameters are those of `actor_params`, `now` and `detail`.
    """
    return f"""
        insert into audit_entry (at, actor, action, object_type, object_id, ip_index, detail)
        select :now, :actor, '{action}', '{object_type}', id, :ip_index, :detail from {rows}
    """


def actor_params() -> dict[str, Any]:
    """Return the parameters of `record_sql` that name the actor."""
    who = current()
    return {"actor": who.actor, "ip_index": who.ip_index}


_LOCK = 7_302_001  # names the chain among PostgreSQL's advisory locks
_SLICE = 5_000
_LATE = 10_000  # ids; how far back a late entry may appear
_SETTLE = timedelta(seconds=90)  # longer than a transaction may take: ids are assigned before the commit


def seal(*, all_now: bool = False) -> int:
    """Chain entries that are not chained yet, oldest first; return how many. One process at a time.

    Entries of the last 90 seconds wait for the next call: a slow transaction may still commit a lower id.
    """
    if not db.session.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
        return 0
    last = db.session.execute(
        select(AuditLink).order_by(AuditLink.number.desc()).limit(1)
    ).scalar_one_or_none()
    waiting = select(AuditEntry).outerjoin(AuditLink, AuditLink.entry_id == AuditEntry.id)
    waiting = waiting.where(AuditLink.entry_id.is_(None)).order_by(AuditEntry.id).limit(_SLICE)
    if last is not None:
        waiting = waiting.where(AuditEntry.id > last.entry_id - _LATE)
    if not all_now:
        waiting = waiting.where(AuditEntry.at < clock.now() - _SETTLE)
    entries = db.session.scalars(waiting).all()
    links = chain.extend(
        last.hash if last else chain.START, last.number if last else 0, map(_content, entries)
    )
    if links:
        rows = [{"number": link.number, "entry_id": link.entry_id, "hash": link.hash} for link in links]
        db.session.execute(insert(AuditLink), rows)
        # kept outside the database, this line later shows whether the chain was rewritten
        log.info("audit.sealed", number=links[-1].number, hash=links[-1].hash.hex())
    return len(links)


def verify(*, expected: tuple[int, str] | None = None) -> list[Finding]:
    """Verify the whole chain and return the findings.

    `expected` is the number and hash (hex) of a link in a log that is kept elsewhere; a chain that was truncated or
    rewritten cannot contain it.
    """
    findings: list[Finding] = []
    before, number = chain.START, 0
    seen = expected is None
    while links := _links_after(number):
        findings += chain.check(links, before=before, number=number)
        seen = seen or any((link.number, link.hash.hex()) == expected for link in links)
        before, number = links[-1].hash, links[-1].number
    if not seen:
        findings.append(
            Finding(
                kind=FindingKind.DELETED, entry_id=None, text="The chain does not contain the expected link."
            )
        )
    return findings + _unsealed()


def _links_after(number: int) -> list[Link]:
    rows = db.session.execute(
        select(AuditLink, AuditEntry)
        .outerjoin(AuditEntry, AuditEntry.id == AuditLink.entry_id)
        .where(AuditLink.number > number)
        .order_by(AuditLink.number)
        .limit(_SLICE)
        .execution_options(populate_existing=True)
    )
    return [
        Link(
            number=link.number,
            entry_id=link.entry_id,
            hash=link.hash,
            content=_content(entry) if entry else None,
        )
        for link, entry in rows
    ]


def _unsealed() -> list[Finding]:
    """Return entries older than a day without a link: inserted later, or links were removed at the end."""
    missing = db.session.scalars(
        select(AuditEntry.id)
        .outerjoin(AuditLink, AuditLink.entry_id == AuditEntry.id)
        .where(AuditLink.entry_id.is_(None), AuditEntry.at < clock.now() - timedelta(days=1))
        .order_by(AuditEntry.id)
        .limit(100)
    )
    return [
        Finding(kind=FindingKind.UNSEALED, entry_id=found, text=f"Entry {found} is not in the chain.")
        for found in missing
    ]


def _content(entry: AuditEntry) -> Content:
    return Content(
        id=entry.id,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        object_type=entry.object_type,
        object_id=entry.object_id,
        purpose=entry.purpose,
        ip_index=bytes(entry.ip_index) if entry.ip_index is not None else None,
        detail=entry.detail,
    )
