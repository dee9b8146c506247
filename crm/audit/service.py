"""The audit log: recording entries, sealing them into the hash chain, verifying it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import structlog
from sqlalchemy import insert, select, text

from crm.audit import chain, entry_proofs
from crm.audit.chain import Content, Finding, FindingKind, Link
from crm.audit.entry_proofs import Statement
from crm.audit.models import AuditEntry, AuditLink
from crm.core import clock, crypto
from crm.core import current as current_app
from crm.core.db import as_json, db

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Acting:
    """The actor of this request, job or command."""

    actor: str = "system"
    address: str | None = None

    @cached_property
    def ip_index(self) -> bytes | None:
        """The blind index of the address, made when something is recorded: most requests record nothing."""
        return crypto.blind_index("ip", self.address) if self.address else None


_acting: ContextVar[Acting] = ContextVar("acting", default=Acting())  # noqa: B039 - frozen


@contextmanager
def acting(actor: str, *, address: str | None = None) -> Iterator[None]:
    """Set the actor ("staff:7", "key:3", "referrer:4", "public", "system") and its IP address for the block."""
    token = _acting.set(Acting(actor=actor, address=address))
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
    said = _said(action, object_type=object_type, purpose=purpose, detail=detail)
    nonce, token = _token(said)
    proof = entry_proofs.make(nonce, token, object_id)
    db.session.add(AuditEntry(**vars(said), object_id=object_id, proof=proof))


def _said(
    action: str, *, object_type: str | None, purpose: str | None = None, detail: dict[str, Any] | None
) -> Statement:
    who = current()
    return Statement(
        at=clock.now(),
        actor=who.actor,
        action=action,
        object_type=object_type,
        purpose=purpose,
        ip_index=who.ip_index,
        detail=detail,
    )


def _token(said: Statement) -> tuple[bytes, bytes]:
    """Return a new nonce, and with it the token of an entry's proof."""
    nonce = os.urandom(entry_proofs.NONCE)
    return nonce, current_app.services().audit_keys.sign(entry_proofs.message(said, nonce))


def record_sql(action: str, object_type: str, *, rows: str) -> str:
    """Return SQL that records an action on each id of `rows`, to be part of the statement that does it.

    Its parameters are those of `sql_params`.
    """
    return f"""
        insert into audit_entry (at, actor, action, object_type, object_id, ip_index, detail, proof)
        select :now, :actor, '{action}', '{object_type}', id, :ip_index, :detail, {entry_proofs.SQL} from {rows}
    """


def sql_params(action: str, object_type: str, *, detail: dict[str, Any] | None) -> dict[str, Any]:
    """Return the parameters of `record_sql` for the current actor, now."""
    said = _said(action, object_type=object_type, detail=detail)
    nonce, token = _token(said)
    return {
        "now": said.at,
        "actor": said.actor,
        "ip_index": said.ip_index,
        "detail": as_json(detail),
        "audit_nonce": nonce,
        "audit_token": token,
    }


_LOCK = 7_302_001  # names the chain among PostgreSQL's advisory locks
_SLICE = 5_000
_LATE = 10_000  # ids; how far back a late entry may appear
UPGRADE = timedelta(days=1)  # how long an earlier release may run beside this one
_SETTLE = timedelta(seconds=90)  # longer than a transaction may take: ids are assigned before the commit


def seal(*, all_now: bool = False, wait: bool = False) -> int:
    """Chain entries that are not chained yet, oldest first; return how many.

    One process at a time: while another one does it, this returns 0 or, with `wait`, goes on after it. Entries of the
    last 90 seconds wait for the next call: a slow transaction may still commit a lower id.
    """
    if wait:
        db.session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    elif not db.session.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
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
        last.hash if last else chain.START,
        last.number if last else 0,
        map(_content, entries),
        sign=current_app.services().audit_keys.sign,
    )
    if links:
        rows = [
            {"number": link.number, "entry_id": link.entry_id, "hash": link.hash, "mac": link.mac}
            for link in links
        ]
        db.session.execute(insert(AuditLink), rows)
        # kept outside the database, this line later shows whether the chain was rewritten
        log.info("audit.sealed", number=links[-1].number, hash=links[-1].hash.hex())
    return len(links)


def verify(*, expected: Iterable[tuple[int, str]] = ()) -> list[Finding]:
    """Verify the whole chain and return the findings.

    `expected` are numbers and hashes (hex) of links that are kept elsewhere; a chain that was cut or rewritten cannot
    contain them.
    """
    findings: list[Finding] = []
    before, number = chain.START, 0
    missing, keyed = set(expected), _keyed()
    while links := _links_after(number):
        broken = chain.check(links, before=before, number=number)
        told = {finding.entry_id for finding in broken}
        findings += broken
        if keyed is not None:
            findings += [one for one in chain.check_codes(links, keyed=keyed) if one.entry_id not in told]
        missing -= {(link.number, link.hash.hex()) for link in links}
        before, number = links[-1].hash, links[-1].number
    for lost, _ in sorted(missing):
        text = f"Link {lost}, which was sealed outside, is not in the chain: it was cut off, emptied or rewritten."
        findings.append(Finding(kind=FindingKind.CUT, entry_id=None, text=text))
    return findings + _unsealed()


def head() -> tuple[int, str] | None:
    """Return number and hash (hex) of the newest link; None while there is none."""
    newest = select(AuditLink.number, AuditLink.hash).order_by(AuditLink.number.desc()).limit(1)
    found = db.session.execute(newest).first()
    return (found.number, found.hash.hex()) if found is not None else None


def is_old() -> bool:
    """Tell whether the log has sealed entries from before yesterday, so that seals of it must exist outside."""
    oldest = (
        select(AuditEntry.at).join(AuditLink, AuditLink.entry_id == AuditEntry.id).order_by(AuditLink.number)
    )
    at = db.session.scalar(oldest.limit(1))
    return at is not None and at < clock.now() - timedelta(days=1)


def _keyed() -> chain.Keyed | None:
    """Return from where codes and proofs are needed; None while no link has a code."""
    first = (
        select(AuditLink.number, AuditEntry.at)
        .join(AuditEntry, AuditEntry.id == AuditLink.entry_id)
        .where(AuditLink.mac.is_not(None))
        .order_by(AuditLink.number)
        .limit(1)
    )
    found = db.session.execute(first).first()
    if found is None:
        return None
    codes = current_app.services().audit_keys.signatures
    return chain.Keyed(from_number=found.number, proven_since=found.at + UPGRADE, codes=codes)


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
            mac=link.mac,
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
        proof=bytes(entry.proof) if entry.proof is not None else None,
    )
