"""Proofs of audit entries: a code with a key outside the database, so that an inserted line shows. Pure.

A proof is a nonce and SHA-256 over a token and the object's id. The token is an HMAC over the rest of the entry: a
statement that inserts the entry of a row which it makes itself gets the token, never the key.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NONCE = 8  # bytes


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What an entry says, without the ids that the database gives."""

    at: datetime
    actor: str
    action: str
    object_type: str | None
    purpose: str | None
    ip_index: bytes | None
    detail: Mapping[str, Any] | None


def message(statement: Statement, nonce: bytes) -> bytes:
    """Return the bytes whose HMAC is the token."""
    plain = [
        statement.at.astimezone(UTC).isoformat(timespec="microseconds"),
        statement.actor,
        statement.action,
        statement.object_type,
        statement.purpose,
        statement.ip_index.hex() if statement.ip_index is not None else None,
        json.loads(json.dumps(statement.detail)),  # as it is read back: keys are text
    ]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return b"entry\0" + nonce + text.encode()


def make(nonce: bytes, token: bytes, object_id: int | None) -> bytes:
    """Return the proof of an entry about this object; `SQL` is the same in a statement."""
    said = "" if object_id is None else str(object_id)
    return nonce + hashlib.sha256(token + said.encode()).digest()


SQL = ":audit_nonce || sha256(cast(:audit_token as bytea) || convert_to(cast(id as text), 'UTF8'))"


def holds(
    proof: bytes, statement: Statement, object_id: int | None, *, codes: Callable[[bytes], Iterable[bytes]]
) -> bool:
    """Tell whether the service made this proof; `codes` gives a message's code by each key."""
    nonce = proof[:NONCE]
    return proof in [make(nonce, token, object_id) for token in codes(message(statement, nonce))]
