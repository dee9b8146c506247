"""Proof of work for public forms: a small computation that costs a browser little and a robot each time.

ALTCHA's format (altcha.org/docs), created and verified here, without third parties. A solution is redeemed in
the database, in the transaction of its form: a failed form does not use it up, and a restart does not renew it.
"""

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from altcha import v1 as altcha
from itsdangerous import BadData, TimestampSigner
from sqlalchemy.dialects.postgresql import insert

from crm.core import clock
from crm.core.db import db
from crm.staff.models import KeptReply

DIFFICULTY = 100_000  # hashes at most: 0.2 seconds on a desktop, 2 on an old phone
LIFETIME = 20 * 60  # seconds
FASTEST = 3  # seconds; no person fills in a form faster
LONGEST = 24 * 3600  # seconds a page may stay open
_FIELDS = {"algorithm": str, "challenge": str, "number": int, "salt": str, "signature": str}


def _key(secret: str) -> bytes:
    return hashlib.sha256(b"proof of work\0" + secret.encode()).digest()


def new_challenge(secrets: Sequence[str]) -> dict[str, Any]:
    """Return a challenge for the browser. Uses real time, not demo time, as browsers do."""
    expires = datetime.fromtimestamp(time.time() + LIFETIME, UTC)
    options = altcha.ChallengeOptions(max_number=DIFFICULTY, hmac_key=_key(secrets[0]), expires=expires)
    return dict(altcha.create_challenge(options).to_dict())


def solved_challenge(answer: str, secrets: Sequence[str]) -> str | None:
    """Return the id of the challenge that `answer` solves; None if it is invalid or expired."""
    try:
        payload: Any = json.loads(base64.b64decode(answer, validate=True))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(payload, dict) or any(
        type(payload.get(name)) is not kind for name, kind in _FIELDS.items()
    ):
        return None
    # Our salts always have an expiry, which the library checks.
    if (
        not (payload["salt"] + payload["challenge"] + payload["signature"]).isascii()
        or "expires=" not in payload["salt"]
    ):
        return None
    sent = altcha.Payload(**{name: payload[name] for name in _FIELDS})
    if any(altcha.verify_solution(sent, _key(secret))[0] for secret in secrets):
        return str(payload["challenge"])
    return None


def redeem(challenge_id: str) -> bool:
    """Redeem a solved challenge in the running transaction; return False if it was redeemed before."""
    row = insert(KeptReply).values(caller="proof", key=challenge_id, request_hash=b"", at=clock.now())
    return db.session.scalar(row.on_conflict_do_nothing().returning(KeptReply.key)) is not None


def sign_opening(secrets: Sequence[str]) -> str:
    """Return a signed mark of the current time, for `seconds_open`."""
    return _signer(secrets).sign(b"form").decode()


def seconds_open(mark: str, secrets: Sequence[str]) -> float | None:
    """Return how many seconds ago `mark` was created; None if it is invalid or too old."""
    try:
        _, made = _signer(secrets).unsign(mark, max_age=LONGEST, return_timestamp=True)
    except BadData:
        return None
    return time.time() - made.timestamp()


def _signer(secrets: Sequence[str]) -> TimestampSigner:
    # itsdangerous signs with the last key and takes all of them
    return TimestampSigner([_key(secret) for secret in reversed(secrets)], salt="form opened")
