"""What events mean. Pure, and indifferent to order and repetition: the gravest fate of a message wins."""

# Later entries outweigh earlier ones. A bounce may follow a delivery, and a complaint may follow anything.
ORDER = ("processed", "deferred", "delivered", "blocked", "dropped", "bounced", "unsubscribed", "complained")
SUPPRESS = {"bounced": "all", "complained": "all", "unsubscribed": "marketing"}  # kind -> scope
SOFT_LIMIT = 3  # blocked messages in SOFT_DAYS, after which we stop trying
SOFT_DAYS = 30


def gravest(kinds: "list[str]") -> str | None:
    """Return the kind a message's state shows after these events, in whatever order they came."""
    known = [kind for kind in kinds if kind in ORDER]
    return max(known, key=ORDER.index) if known else None
