"""API keys of other systems, and the replies kept for idempotency keys."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db, execute_raw
from crm.core.errors import Conflict, Invalid, NotFound
from crm.staff.models import ApiKey, KeptReply

SCOPES = (
    "contact-requests:write",
    "referrals:write",
    "leads:read",
    "leads:work",
    "campaigns:write",
    "messages:read",
)
PRACTICE_SCOPES = frozenset({"referrals:write", "leads:read"})  # the rest is the clinic's own work
PREFIX = "crm_"
SEEN_EVERY = timedelta(hours=1)  # precision of `last_used_at`: a write per request would cost too much
REPLY_LIFE = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The key of a request and its scopes."""

    id: int
    name: str
    scopes: frozenset[str]
    practice_id: int | None

    @property
    def actor(self) -> str:
        return f"key:{self.id}"


def _hash(key: str) -> bytes:
    # The key is 32 random bytes, so a slow hash adds no safety.
    return hashlib.sha256(key.encode()).digest()


def create(
    *, name: str, scopes: Collection[str], practice_id: int | None = None, days: int | None = None
) -> tuple[ApiKey, str]:
    """Create a key that ends after `days`, if given; return its row and the key, which is stored nowhere. Raises Invalid."""
    if not name.strip():
        raise Invalid({"name": ["Give the key a name that says who uses it."]})
    if not scopes or set(scopes) - set(SCOPES):
        raise Invalid({"scope": [f"Choose from {', '.join(SCOPES)}."]})
    if practice_id is not None and set(scopes) - PRACTICE_SCOPES:
        allowed = " and ".join(sorted(PRACTICE_SCOPES))
        raise Invalid({"scope": [f"A practice's key may only have {allowed}: the rest is the clinic's own."]})
    plain = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(
        name=name.strip(),
        key_hash=_hash(plain),
        hint=plain[: len(PREFIX) + 4],
        scopes=sorted(set(scopes)),
        practice_id=practice_id,
        created_at=clock.now(),
        expires_at=clock.now() + timedelta(days=days) if days else None,
    )
    db.session.add(row)
    db.session.flush()
    audit.record(
        "api_key.create", object_type="api_key", object_id=row.id, detail={"scopes": row.scopes, "days": days}
    )
    return row, plain


_FIND = """
    select id, name, scopes, practice_id, last_used_at from api_key
    where key_hash = :hash and revoked_at is null and (expires_at is null or expires_at > :now)
"""


def find(plain: str) -> Caller | None:
    """Return the caller that a key belongs to; None if it is unknown, revoked or over."""
    now = clock.now()
    row = execute_raw(_FIND, {"hash": _hash(plain), "now": now}).first()
    if row is None:
        return None
    if row.last_used_at is None or now - row.last_used_at > SEEN_EVERY:
        db.session.execute(update(ApiKey).where(ApiKey.id == row.id).values(last_used_at=now))
    scopes = frozenset(row.scopes)
    if row.practice_id is not None:  # also for a row older than this rule
        scopes &= PRACTICE_SCOPES
    return Caller(id=row.id, name=row.name, scopes=scopes, practice_id=row.practice_id)


def every() -> Sequence[ApiKey]:
    """Return all keys, oldest first."""
    return db.session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def revoke(key_id: int) -> None:
    """Revoke a key from the next request on. Raises NotFound, Conflict if it was revoked before."""
    row = db.session.get(ApiKey, key_id)
    if row is None:
        raise NotFound("Key not found.")
    if row.revoked_at is not None:
        raise Conflict("This key is already revoked.")
    row.revoked_at = clock.now()
    audit.record("api_key.revoke", object_type="api_key", object_id=key_id)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A reply: the HTTP status, and a JSON object with ids and codes only."""

    status: int
    body: dict[str, Any]


def first_time(*, caller: str, key: str, request: bytes) -> Reply | None:
    """Claim `key` for this request; return None the first time and the kept reply from then on.

    A second request with the same key waits here until the transaction of the first has ended, and does the work
    itself if that one failed. Raises Invalid when the key came with another request before.
    """
    digest, now = hashlib.sha256(request).digest(), clock.now()
    row = insert(KeptReply).values(caller=caller, key=key, request_hash=digest, at=now)
    taken = row.on_conflict_do_update(
        index_elements=["caller", "key"],
        set_={"request_hash": digest, "status": None, "reply": None, "at": now},
        where=KeptReply.at < now - REPLY_LIFE,
    )
    if db.session.scalar(taken.returning(KeptReply.key)) is not None:
        return None
    kept = db.session.execute(
        select(KeptReply.request_hash, KeptReply.status, KeptReply.reply).where(
            KeptReply.caller == caller, KeptReply.key == key
        )
    ).one()
    if kept.request_hash != digest:
        raise Invalid({"Idempotency-Key": ["This key was used for another request. Use a new one for each."]})
    return Reply(status=kept.status, body=kept.reply)


def keep(*, caller: str, key: str, reply: Reply) -> None:
    """Keep the reply to the request that claimed `key`, in the same transaction as its work."""
    db.session.execute(
        update(KeptReply)
        .where(KeptReply.caller == caller, KeptReply.key == key)
        .values(status=reply.status, reply=reply.body)
    )


def forget_replies() -> None:
    """Delete replies that have expired."""
    db.session.execute(delete(KeptReply).where(KeptReply.at < clock.now() - REPLY_LIFE))
