"""SendGrid's Event Webhook: signature check and parsing. Pure.

Signed with ECDSA P-256 / SHA-256 over the timestamp header and the raw body
(docs: getting-started-event-webhook-security-features).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from crm.mailer import EventKind

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"
WINDOW = timedelta(hours=25)  # events are retried for 24 hours, and may keep their first signature
LONGEST_DETAIL = 500


class BadKey(ValueError):
    """The configured public key is not one."""


@lru_cache(maxsize=8)
def public_key(encoded: str) -> ec.EllipticCurvePublicKey:
    """Read a base64 DER public key as SendGrid's settings page shows it. Raises BadKey."""
    try:
        key = load_der_public_key(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error) as error:
        raise BadKey("SENDGRID_WEBHOOK_KEY is not a base64 public key.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadKey("SENDGRID_WEBHOOK_KEY is not an elliptic-curve key.")
    return key


def verify(
    raw: bytes, *, signature: str | None, timestamp: str | None, keys: Sequence[str], now: datetime
) -> bool:
    """Tell whether a post is SendGrid's and fresh. Two keys may be given during a key change."""
    if not signature or not timestamp or not timestamp.isascii() or not timestamp.isdigit():
        return False
    try:
        signed_at = datetime.fromtimestamp(int(timestamp), UTC)
        mark = base64.b64decode(signature, validate=True)
    except (ValueError, OverflowError, OSError, binascii.Error):
        return False
    if abs(now - signed_at) > WINDOW:
        return False
    return any(_fits(key, mark, timestamp.encode() + raw) for key in keys)


def _fits(key: str, mark: bytes, signed: bytes) -> bool:
    try:
        public_key(key).verify(mark, signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


class Event(NamedTuple):
    """One event. `message_id` is None where the provider sent none (tests, late bounces)."""

    event_id: str
    message_id: int | None
    kind: EventKind
    at: datetime
    email: str
    detail: str | None


_KINDS = {
    "processed": EventKind.PROCESSED,
    "deferred": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "spamreport": EventKind.COMPLAINED,
    "unsubscribe": EventKind.UNSUBSCRIBED,
    "group_unsubscribe": EventKind.UNSUBSCRIBED,
}
# What "dropped" means for the address, by SendGrid's wording of the reason.
_DROPS = {
    "unsubscribed address": EventKind.UNSUBSCRIBED,
    "bounced address": EventKind.BOUNCED,
    "spam reporting address": EventKind.COMPLAINED,
}


def parse(raw: bytes) -> list[Event]:
    """Return the events of a verified post; items not of the documented shape are left out.

    Raises ValueError when the body is not a JSON array.
    """
    found = orjson.loads(raw)
    if not isinstance(found, list):
        raise ValueError("The body is not a list of events.")
    return [event for one in found if isinstance(one, dict) and (event := _event(one)) is not None]


def _event(one: Mapping[str, Any]) -> Event | None:
    event_id, stamp = one.get("sg_event_id"), one.get("timestamp")
    if not isinstance(event_id, str) or not event_id or not isinstance(stamp, int | float):
        return None
    message = one.get("pp_msg")
    email = one.get("email")
    try:
        at = datetime.fromtimestamp(stamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return Event(
        event_id[:200].replace("\0", ""),
        int(message)
        if isinstance(message, str) and message.isascii() and message.isdigit() and len(message) < 19
        else None,
        _kind(one),
        at,
        email if isinstance(email, str) else "",
        _detail(one),
    )


def _kind(one: Mapping[str, Any]) -> EventKind:
    name = one.get("event")
    if name == "bounce":
        return EventKind.BLOCKED if one.get("type") == "blocked" else EventKind.BOUNCED
    if name == "dropped":
        return _DROPS.get(str(one.get("reason", "")).strip().lower(), EventKind.DROPPED)
    return _KINDS.get(name, EventKind.OTHER) if isinstance(name, str) else EventKind.OTHER


def _detail(one: Mapping[str, Any]) -> str | None:
    """Return text of foreign servers: capped, on one line, without addresses. Shown only escaped."""
    words = one.get("reason") or one.get("response")
    if not isinstance(words, str):
        return None
    kept = words[: 4 * LONGEST_DETAIL].split()
    line = " ".join(["[address]" if "@" in word else word for word in kept] if "@" in words else kept)
    if not line.isprintable():
        line = "".join(filter(str.isprintable, line))
    return line[:LONGEST_DETAIL] or None
