"""SendGrid's Event Webhook: signature check and parsing. Pure.

A post is read item by item: what cannot be understood is counted and the rest is used. An event that asks for a
suppression is acted on even when its time or id is odd.

Signed with ECDSA P-256 / SHA-256 over the timestamp header and the raw body
(docs: getting-started-event-webhook-security-features).
"""

import base64
import binascii
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from crm.mailer import EventKind, ProviderList, lenient_json

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"
WINDOW = timedelta(hours=25)  # events are retried for 24 hours, and may keep their first signature
LONGEST_DETAIL = 500
LONGEST_ID = 200
LONGEST_TIME = 50  # characters
MOST_INFLATED = 8 * 1024 * 1024  # bytes; ten times the largest post that SendGrid makes
FUTURE, PAST = timedelta(hours=1), timedelta(days=400)  # how far from the receipt an event's time may be


class BadKey(ValueError):
    """The configured value is not a public key."""


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


class Unclear(StrEnum):
    """What could not be understood of a post."""

    NOT_JSON = "not_json"
    NO_OBJECT = "no_object"
    UNKNOWN_KIND = "unknown_kind"
    NO_ADDRESS = "no_address"
    NO_TIME = "no_time"
    ODD_TIME = "odd_time"
    NO_ID = "no_id"
    DOUBLED_KEY = "doubled_key"
    NOT_APPLIED = "not_applied"


class Event(NamedTuple):
    """One event. `message_id` is None where the provider sent none (tests, late bounces), `email` empty if unreadable.

    `listed` is the list on which SendGrid had the address of a dropped email; `call` is the provider's id of the call
    that the email left with.
    """

    event_id: str
    message_id: int | None
    kind: EventKind
    at: datetime
    email: str
    detail: str | None
    listed: ProviderList | None = None
    call: str | None = None


class Post(NamedTuple):
    """The events of a post, and a count of each kind of problem."""

    events: list[Event]
    unclear: Counter[Unclear]


_KINDS = {
    "processed": EventKind.PROCESSED,
    "deferred": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "dropped": EventKind.DROPPED,
    "bounce": EventKind.BOUNCED,
    "spamreport": EventKind.COMPLAINED,
    "unsubscribe": EventKind.UNSUBSCRIBED,
    "group_unsubscribe": EventKind.UNSUBSCRIBED,
    "group_resubscribe": EventKind.OTHER,
    "open": EventKind.OTHER,
    "click": EventKind.OTHER,
    "account_status_change": EventKind.OTHER,
}
# The list that a dropped email's address is on, by SendGrid's wording of the reason. Other reasons are about the email.
_DROPS = {
    "unsubscribed address": ProviderList.UNSUBSCRIBES,
    "bounced address": ProviderList.BOUNCES,
    "spam reporting address": ProviderList.SPAM_REPORTS,
    "invalid": ProviderList.INVALID_EMAILS,
}
_GRAVE = frozenset({EventKind.BOUNCED, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED})
_KEYS = ("event", "email", "timestamp", "sg_event_id", "pp_msg", "type", "reason")
_KEY_BYTES = tuple((key, f'"{key}"'.encode()) for key in _KEYS)
# An apostrophe belongs to an address (o'brien@...), quotation marks around one do not.
_ADDRESS = re.compile(r"""[^\s<>"',;:()\[\]\\@][^\s<>",;:()\[\]\\@]*@[^\s<>"',;:()\[\]\\@]+""")
_GZIP = b"\x1f\x8b"
_CHUNK = 64 * 1024


def parse(raw: bytes, *, now: datetime, make_id: Callable[[str], str]) -> Post:
    """Read a verified post that was received `now`. Never fails: what cannot be understood is counted.

    `make_id` gives an id to an event without one, from its whole text: equal events get equal ids.
    """
    items, unread = _items(inflate(raw))
    events, unclear = list[Event](), Counter({Unclear.NOT_JSON: unread} if unread else {})
    for item in items:
        if isinstance(item, lenient_json.DoubledKeys):
            unclear[Unclear.DOUBLED_KEY] += 1
            events += _doubled(item, now, make_id)
        elif isinstance(item, dict):
            events += _events(item, now, make_id, unclear)
        else:
            unclear[Unclear.NO_OBJECT] += 1
    return Post(events, unclear)


def inflate(raw: bytes) -> bytes:
    """Return the content of a gzip body, up to MOST_INFLATED bytes and to the first error; any other body as it is."""
    if not raw.startswith(_GZIP):
        return raw
    inflater, found = zlib.decompressobj(wbits=31), bytearray()
    try:
        for start in range(0, len(raw), _CHUNK):
            waiting = raw[start : start + _CHUNK]
            while waiting and len(found) < MOST_INFLATED:
                found += inflater.decompress(waiting, MOST_INFLATED - len(found))
                waiting = inflater.unconsumed_tail
    except zlib.error:
        pass  # the part before the error may hold whole events
    return bytes(found)


def _items(raw: bytes) -> tuple[list[Any], int]:
    """Return the items of a post, and how many pieces of it could not be read."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return lenient_json.read_items(raw)
    if isinstance(found, list) and not _has_doubled_keys(raw, found):
        return found, 0
    return lenient_json.read_items(raw)


def _has_doubled_keys(raw: bytes, items: Sequence[Any]) -> bool:
    """Return whether an item may hold a key twice: orjson keeps only the last one and reports nothing."""
    objects = [one for one in items if isinstance(one, dict)]
    return b'"\\u' in raw or any(
        raw.count(quoted) > sum([key in one for one in objects]) for key, quoted in _KEY_BYTES
    )


def _doubled(item: lenient_json.DoubledKeys, now: datetime, make_id: Callable[[str], str]) -> Iterator[Event]:
    """Yield what an object with a doubled key may mean: each reading that asks for a suppression, else the last."""
    readings = [
        event for one in (item.first, item) for event in _events(dict(one), now, make_id, Counter[Unclear]())
    ]
    grave = [event for event in readings if event.kind in _GRAVE or event.listed]
    for number, event in enumerate(grave or readings[-1:]):
        yield event._replace(event_id=make_id(f"{number} {_text(item.first)} {_text(item)}"))


def _events(
    one: Mapping[str, Any], now: datetime, make_id: Callable[[str], str], unclear: Counter[Unclear]
) -> Iterator[Event]:
    """Yield the event of an item, if it is one."""
    kind = _kind(one)
    if kind is None:
        unclear[Unclear.UNKNOWN_KIND] += 1
        return
    at, event_id = _time(one.get("timestamp"), now, unclear), _id(one.get("sg_event_id"))
    if event_id is None:
        unclear[Unclear.NO_ID] += 1
        event_id = make_id(_text(one))
    yield Event(
        event_id,
        _message_id(one.get("pp_msg")),
        kind,
        at,
        _address(one.get("email")),
        _detail(one),
        _list(one) if kind is EventKind.DROPPED else None,
        _call(one.get("sg_message_id")) if kind in _GRAVE else None,
    )


def _kind(one: Mapping[str, Any]) -> EventKind | None:
    kind = _KINDS.get(_word(one.get("event")))
    if kind is EventKind.BOUNCED and _word(one.get("type")) == "blocked":
        return EventKind.BLOCKED
    return kind


def _list(one: Mapping[str, Any]) -> ProviderList | None:
    return _DROPS.get(_word(one.get("reason")))


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _id(value: object) -> str | None:
    """Return the provider's id of an event, a number too; None when there is none that can be kept as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable():
        return value
    return None


def _message_id(value: object) -> int | None:
    """Return our own id of the message, which SendGrid gives back as text."""
    if isinstance(value, str) and len(value) < 30 and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    return value if isinstance(value, int) and value is not True and 0 < value < 2**63 else None


def _call(value: object) -> str | None:
    """Return the id that SendGrid answered the call with: the part of `sg_message_id` before the first dot."""
    return value.partition(".")[0] or None if isinstance(value, str) else None


def _address(value: object) -> str:
    """Return the address in a text, without a name or brackets around it; empty when none can be read."""
    if not isinstance(value, str):
        return ""
    found = _ADDRESS.search(value[:1_000])
    address = found[0] if found is not None else ""
    return address if len(address) < 320 and address.isprintable() and "\ufffd" not in address else ""


def _time(value: object, now: datetime, unclear: Counter[Unclear]) -> datetime:
    """Return the time of an event: seconds, milliseconds or ISO 8601, as number or text; else the time of receipt."""
    seconds = _seconds(value)
    if seconds is None:
        unclear[Unclear.NO_TIME] += 1
        return now
    while 1e11 <= abs(seconds) < 1e20:  # milli-, micro- or nanoseconds
        seconds /= 1_000
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        at = None
    if at is None or not now - PAST < at < now + FUTURE:
        unclear[Unclear.ODD_TIME] += 1
        return now
    return at


def _seconds(value: object) -> float | None:
    if isinstance(value, str) and len(value) <= LONGEST_TIME:
        return _text_seconds(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


def _text_seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return _iso_seconds(value)
    return None if math.isnan(seconds) else seconds


def _iso_seconds(value: str) -> float | None:
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _text(one: Mapping[str, Any]) -> str:
    """Return what an item says as text that is equal for equal items; ASCII, so that any character may be in it."""
    said = {key: value for key in _KEYS if isinstance(value := one.get(key), str | int | float)}
    return json.dumps(said)


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
