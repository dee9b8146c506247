"""What the events of a mail amount to, in words for people. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """A word and its tone: `good`, `bad`, `warn` or `plain`."""

    word: str
    tone: str


_RANKED = (
    ("spamreport", Outcome("Complaint", "bad")),
    ("unsubscribe", Outcome("Unsubscribed", "warn")),
    ("bounce", Outcome("Bounced", "bad")),
    ("blocked", Outcome("Blocked", "warn")),
    ("dropped", Outcome("Dropped", "bad")),
    ("delivered", Outcome("Delivered", "good")),
    ("deferred", Outcome("Deferred", "warn")),
    ("processed", Outcome("Processed", "plain")),
)
ACCEPTED = Outcome("Accepted", "plain")
UNANSWERED = Outcome("Taken in, not answered", "warn")
KIND_WORDS = {
    "processed": "Processed",
    "delivered": "Delivered",
    "deferred": "Deferred",
    "bounce": "Bounce",
    "blocked": "Blocked",
    "dropped": "Dropped",
    "spamreport": "Spam report",
    "unsubscribe": "Unsubscribe",
    "async_bounce": "Late bounce",
    "duplicate": "Tell everything again",
    "open": "Open",
    "click": "Click",
}
MAGIC_ADDRESSES = (
    ("bounce@", "refused for good; the address goes on the bounce list"),
    ("block@", "refused for now by the receiving server"),
    ("defer@", "delayed twice, then delivered"),
    ("drop@", "never tried"),
    ("spam-drop@", "never tried: the address reported spam before"),
    ("complain@", "delivered, then reported as spam"),
    ("unsubscribe@", "delivered, then unsubscribed"),
    ("async-bounce@", "delivered, bounces later, told without a message id"),
    ("duplicate@", "every event told twice"),
    ("shuffle@", "events told in the wrong order"),
)


def kind_of(event: Mapping[str, Any]) -> str:
    """Return `blocked` for a bounce of that type, else the event's own name."""
    return "blocked" if event["event"] == "bounce" and event.get("type") == "blocked" else str(event["event"])


def worst_outcome(events: Iterable[Mapping[str, Any]]) -> Outcome:
    """Return the gravest thing that happened."""
    kinds = {kind_of(event) for event in events}
    return next((found for kind, found in _RANKED if kind in kinds), ACCEPTED)
