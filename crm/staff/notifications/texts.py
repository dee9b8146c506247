"""What notifications say, in the console and as counts in the digest. No names, nothing about health."""

from collections import Counter
from collections.abc import Iterable, Mapping

from flask_babel import LazyString, lazy_gettext

from crm.staff.notifications.models import NotificationKind

TITLES: Mapping[NotificationKind, LazyString] = {
    NotificationKind.ASSIGNED: lazy_gettext("Assigned to you"),
    NotificationKind.MENTIONED: lazy_gettext("You were mentioned"),
    NotificationKind.REPLY: lazy_gettext("A practice wrote"),
    NotificationKind.REVIEW: lazy_gettext("Waits for your review"),
    NotificationKind.BREACH: lazy_gettext("Deadline missed"),
    NotificationKind.MONTH: lazy_gettext("The month in numbers"),
}
COUNTED: Mapping[NotificationKind, tuple[str, str]] = {  # in the digest: one, several
    NotificationKind.ASSIGNED: ("{} assignment", "{} assignments"),
    NotificationKind.MENTIONED: ("{} mention", "{} mentions"),
    NotificationKind.REPLY: ("{} message", "{} messages"),
    NotificationKind.REVIEW: ("{} review", "{} reviews"),
    NotificationKind.BREACH: ("{} deadline missed", "{} deadlines missed"),
}
"""All kinds but `MONTH`, which the digest quotes: it is numbers already."""


def summary(waiting: Iterable[tuple[NotificationKind, str]]) -> str:
    """Return what a digest says of these kinds and subjects, in English as all email to staff.

    Of each kind how many there are; of a month its numbers.
    """
    waiting = list(waiting)
    counts = Counter(kind for kind, _ in waiting)
    counted = [
        COUNTED[kind][counts[kind] != 1].format(counts[kind])
        for kind in NotificationKind
        if counts[kind] and kind is not NotificationKind.MONTH
    ]
    months = [subject for kind, subject in waiting if kind is NotificationKind.MONTH]
    return "; ".join(filter(None, [", ".join(counted), *months]))
