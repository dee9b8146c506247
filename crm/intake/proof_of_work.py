"""Proof of work for public forms: a small sum that a browser does in a moment and a robot must do each time.

ALTCHA's format (altcha.org/docs), made and checked here; nothing is asked of third parties. A solution is spent in
the database, within the transaction of what it pays for: what failed costs nothing, and no restart makes it good again.
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

DIFFICULTY = 100_000  # hashes at most: a fifth of a second on a desk, two on an old phone
LIFETIME = 20 * 60  # seconds
FASTEST = 3  # seconds in which nobody fills in a form by hand
LONGEST = 24 * 3600  # seconds a page may stand open
_FIELDS = {"algorithm": str, "challenge": str, "number": int, "salt": str, "signature": str}


def _key(secret: str) -> bytes:
    return hashlib.sha256(b"proof of work\0" + secret.encode()).digest()


def new_challenge(secrets: Sequence[str]) -> dict[str, Any]:
    """Return a challenge for the browser to solve. Real time, not the demo's: browsers have no other."""
    expires = datetime.fromtimestamp(time.time() + LIFETIME, UTC)
    options = altcha.ChallengeOptions(max_number=DIFFICULTY, hmac_key=_key(secrets[0]), expires=expires)
    return dict(altcha.create_challenge(options).to_dict())


def solved_challenge(answer: str, secrets: Sequence[str]) -> str | None:
    """Return the id of the challenge that `answer` solves; None when it solves none of ours, or too late."""
    try:
        payload: Any = json.loads(base64.b64decode(answer, validate=True))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(payload, dict) or any(
        type(payload.get(name)) is not kind for name, kind in _FIELDS.items()
    ):
        return None
    # Only a salt that we signed with an end can be ours; the check of the end is the library's.
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
    """Use a solved challenge up, in the running transaction; False when that was done before."""
    row = insert(KeptReply).values(caller="proof", key=challenge_id, request_hash=b"", at=clock.now())
    return db.session.scalar(row.on_conflict_do_nothing().returning(KeptReply.key)) is not None


def sign_opening(secrets: Sequence[str]) -> str:
    """Return a signed mark of now, to tell later how long a form was open."""
    return _signer(secrets).sign(b"form").decode()


def seconds_open(mark: str, secrets: Sequence[str]) -> float | None:
    """Return how many seconds ago `mark` was made; None for a mark that is not ours or too old."""
    try:
        _, made = _signer(secrets).unsign(mark, max_age=LONGEST, return_timestamp=True)
    except BadData:
        return None
    return time.time() - made.timestamp()


def _signer(secrets: Sequence[str]) -> TimestampSigner:
    # itsdangerous signs with the last key and takes all of them
    return TimestampSigner([_key(secret) for secret in reversed(secrets)], salt="form opened")
