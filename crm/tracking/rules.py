"""The meaning of provider events. Pure; order and repetition do not matter: the worst state of a message wins."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from crm.consent.rules import SuppressionScope
from crm.mailer import EventKind, ProviderList
from crm.messages.rules import EVENT_STATES

ORDER = tuple(EventKind(state) for state in EVENT_STATES)  # later kinds outweigh earlier ones
SUPPRESS: Mapping[EventKind, SuppressionScope] = {
    EventKind.BOUNCED: SuppressionScope.ALL,
    EventKind.COMPLAINED: SuppressionScope.ALL,
    EventKind.UNSUBSCRIBED: SuppressionScope.MARKETING,
}
ACTING = (*SUPPRESS, EventKind.BLOCKED, EventKind.DROPPED)  # kinds that have consequences beyond the message
MOST_FAILURES = 3  # of a stored post, after which it is set aside with an alert
SOFT_LIMIT = 3  # blocked messages in SOFT_DAYS, after which the address is suppressed
SOFT_DAYS = 30


def worst_state(kinds: Sequence[EventKind]) -> EventKind | None:
    """Return the kind that a message's state shows after these events, in any order."""
    known = [kind for kind in kinds if kind in ORDER]
    return max(known, key=ORDER.index) if known else None


# The provider's lists and their suppression here: (reason, scope). It holds for entries of the lists and for mail that
# was dropped because of one. An entry in "blocks" is one temporary refusal; our own count decides.
LISTED: Mapping[str, tuple[str, SuppressionScope]] = {
    ProviderList.BOUNCES: ("bounced", SuppressionScope.ALL),
    ProviderList.SPAM_REPORTS: ("complained", SuppressionScope.ALL),
    ProviderList.INVALID_EMAILS: ("invalid", SuppressionScope.ALL),
    ProviderList.UNSUBSCRIBES: ("unsubscribed", SuppressionScope.MARKETING),
}


def drift(
    name: str, *, created: datetime, everything: bool, marketing: bool, lifted_at: datetime | None
) -> str | None:
    """Return what to do about an address on a provider's list: None, "stop" it here, or it "came_back" by opting in.

    `everything` and `marketing` are the suppressions that hold here; `lifted_at` is when one was lifted last.
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


def suppression(kind: EventKind, listed: ProviderList | None) -> tuple[str, SuppressionScope] | None:
    """Return (reason, scope) of the suppression that an event asks for. A drop asks for that of the list it names."""
    if listed is not None:
        return LISTED[listed]
    return (kind.value, SUPPRESS[kind]) if kind in SUPPRESS else None
