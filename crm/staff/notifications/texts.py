"""What notifications say, in the console and as counts in the digest. No names, nothing about health."""

from collections.abc import Mapping

from flask_babel import LazyString, lazy_gettext

from crm.staff.notifications.models import NotificationKind

TITLES: Mapping[NotificationKind, LazyString] = {
    NotificationKind.ASSIGNED: lazy_gettext("Assigned to you"),
    NotificationKind.MENTIONED: lazy_gettext("You were mentioned"),
    NotificationKind.REPLY: lazy_gettext("A practice wrote"),
    NotificationKind.REVIEW: lazy_gettext("Waits for your review"),
    NotificationKind.BREACH: lazy_gettext("Deadline missed"),
}
COUNTED: Mapping[NotificationKind, tuple[str, str]] = {  # in the digest: one, several
    NotificationKind.ASSIGNED: ("{} assignment", "{} assignments"),
    NotificationKind.MENTIONED: ("{} mention", "{} mentions"),
    NotificationKind.REPLY: ("{} message", "{} messages"),
    NotificationKind.REVIEW: ("{} review", "{} reviews"),
    NotificationKind.BREACH: ("{} deadline missed", "{} deadlines missed"),
}


def summary(counts: Mapping[NotificationKind, int]) -> str:
    """Return how many notifications of each kind wait, in English as all email to staff."""
    return ", ".join(
        COUNTED[kind][count != 1].format(count) for kind in NotificationKind if (count := counts.get(kind, 0))
    )
