"""Magic addresses: an address decides which events its mail produces, and this module builds them.

Kinds and fields: twilio.com/docs/sendgrid/for-developers/tracking-events/event. A receiver's address decides
the events of its mail: `bounce@`, `block@`, `defer@`, `drop@`, `spam-drop@`, `complain@`, `unsubscribe@`, `async-bounce@`,
`duplicate@` and `shuffle@`, each also with a suffix as in `bounce+ana@` or `bounce.3@`.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MAGIC = re.compile(
    r"(?P<how>async-bounce|bounce|block|defer|spam-drop|drop|complain|unsubscribe|duplicate|shuffle)"
    r"(?:ed|red|ped|d)?(?=[+.\-_@\d])",
    re.IGNORECASE,
)
_PLANS: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (("processed",), ("delivered",)),
    "bounce": (("processed",), ("bounce",)),
    "block": (("processed",), ("blocked",)),
    "defer": (("processed",), ("deferred",), ("deferred",), ("delivered",)),
    "drop": (("dropped",),),
    "spam-drop": (("spam_dropped",),),
    "complain": (("processed",), ("delivered",), ("spamreport",)),
    "unsubscribe": (("processed",), ("delivered",), ("unsubscribe",)),
    "async-bounce": (("processed",), ("delivered",), ("async_bounce",)),
    "duplicate": (("processed",), ("delivered",), ("again",)),
    "shuffle": (("delivered",), ("processed",)),
}
KINDS = (
    *("processed", "delivered", "deferred", "bounce", "blocked", "dropped"),
    *("spamreport", "unsubscribe", "async_bounce", "open", "click"),
)
SUPPRESSES = {
    "bounce": "bounces",
    "async_bounce": "bounces",
    "blocked": "blocks",
    "spamreport": "spam_reports",
    "unsubscribe": "unsubscribes",
}
DROP_REASONS = {
    "spam_reports": "Spam Reporting Address",
    "bounces": "Bounced Address",
    "unsubscribes": "Unsubscribed Address",
    "invalid_emails": "Invalid",
}


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """What all events about one recipient of one mail have in common."""

    email: str
    request_id: str
    index: int
    custom_args: Mapping[str, str]
    categories: Sequence[str]


def event_waves(address: str, *, suppressed: str | None = None) -> tuple[tuple[str, ...], ...]:
    """Return the waves of events for an address: those of one wave are sent together, waves one after another.

    `again` repeats every event so far. `suppressed` names the list the address is on, if any.
    """
    if suppressed in DROP_REASONS:
        return (("dropped",),)
    match = _MAGIC.match(address)
    return _PLANS[match["how"].lower() if match else ""]


def build_event(
    kind: str, recipient: Recipient, *, at: float, attempt: int = 1, suppressed: str | None = None
) -> dict[str, Any]:
    """Return one event as SendGrid posts it; `at` in epoch seconds. SendGrid's own names win over custom args."""
    if kind == "spam_dropped":
        kind, suppressed = "dropped", "spam_reports"
    name = {"blocked": "bounce", "async_bounce": "bounce"}.get(kind, kind)
    own: dict[str, Any] = {
        "email": recipient.email,
        "timestamp": int(at),
        "event": name,
        "sg_event_id": secrets.token_urlsafe(16),
        **_DETAILS.get(kind, {}),
    }
    if kind != "async_bounce":
        own["sg_message_id"] = f"{recipient.request_id}.recvd-sandbox-{recipient.index}-{int(at):X}.0"
    if kind in ("processed", "delivered", "deferred", "bounce", "blocked", "dropped"):
        own["smtp-id"] = f"<{recipient.request_id}@geopod-ismtpd-sandbox>"
    if kind == "deferred":
        own["attempt"] = str(attempt)
    if kind == "dropped":
        own["reason"] = DROP_REASONS.get(suppressed or "bounces", "Bounced Address")
    if recipient.categories:
        own["category"] = list(recipient.categories)
    return {**recipient.custom_args, **own}


_DETAILS: dict[str, dict[str, Any]] = {
    "delivered": {"response": "250 2.0.0 OK", "ip": "192.0.2.25", "tls": 1},
    "deferred": {"response": "451 4.7.1 Please try again later", "ip": "192.0.2.25", "tls": 1},
    "bounce": {
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist",
        "bounce_classification": "Invalid Address",
        "ip": "192.0.2.25",
        "tls": 1,
    },
    "blocked": {
        "type": "blocked",
        "status": "4.7.1",
        "reason": "550 5.7.1 Message refused by the receiving server's policy",
        "bounce_classification": "Reputation",
        "ip": "192.0.2.25",
        "tls": 1,
    },
    "async_bounce": {
        "type": "bounce",
        "status": "5.0.0",
        "reason": "550 5.2.1 The mailbox was disabled after the message was taken",
        "bounce_classification": "Mailbox Unavailable",
    },
    "dropped": {"status": "5.0.0"},
    "open": {"ip": "192.0.2.80", "useragent": "Mozilla/5.0 (sandbox)", "sg_machine_open": False},
    "click": {"ip": "192.0.2.80", "useragent": "Mozilla/5.0 (sandbox)", "url": "https://sandbox.invalid/"},
}
