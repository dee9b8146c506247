"""What events mean. Pure, and indifferent to order and repetition: the gravest fate of a message wins."""

from collections.abc import Mapping
from datetime import datetime

from crm.consent.rules import SuppressionScope

# Later entries outweigh earlier ones. A bounce may follow a delivery, and a complaint may follow anything.
ORDER = ("processed", "deferred", "delivered", "blocked", "dropped", "bounced", "unsubscribed", "complained")
SUPPRESS: Mapping[str, SuppressionScope] = {
    "bounced": SuppressionScope.ALL,
    "complained": SuppressionScope.ALL,
    "unsubscribed": SuppressionScope.MARKETING,
}
SOFT_LIMIT = 3  # blocked messages in SOFT_DAYS, after which we stop trying
SOFT_DAYS = 30


def worst_state(kinds: "list[str]") -> str | None:
    """Return the kind a message's state shows after these events, in whatever order they came."""
    known = [kind for kind in kinds if kind in ORDER]
    return max(known, key=ORDER.index) if known else None


# What being on one of the provider's lists means here: (reason, scope). An entry in "blocks" is one refusal, not for good:
# our own count of them decides.
LISTED: Mapping[str, tuple[str, SuppressionScope]] = {
    "bounces": ("bounced", SuppressionScope.ALL),
    "spam_reports": ("complained", SuppressionScope.ALL),
    "invalid_emails": ("invalid", SuppressionScope.ALL),
    "unsubscribes": ("unsubscribed", SuppressionScope.MARKETING),
}


def drift(
    name: str, *, created: datetime, everything: bool, marketing: bool, lifted_at: datetime | None
) -> str | None:
    """Say what to do about an address on one of the provider's lists: None, "stop" it here, or it "came_back" to us.

    `everything` and `marketing` tell which stops hold here; `lifted_at` is when one was lifted last.
    """
    if name not in LISTED or everything:
        return None
    _, scope = LISTED[name]
    if scope == "marketing":
        if marketing:
            return None
        if lifted_at is not None and lifted_at >= created:
            return "came_back"
    return "stop"
