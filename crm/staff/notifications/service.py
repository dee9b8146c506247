"""Notifications: notify staff, what waits for a person, what they chose, and what the next digest says."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Invalid, NotFound
from crm.core.paging import Page, keyset
from crm.staff.models import Alert
from crm.staff.notifications.models import Notification, NotificationChoice, NotificationKind

MOST_COUNTED = 99
KEPT_FOR = timedelta(days=90)  # after it was read
DIGEST_EVERY = timedelta(hours=4)
DIGEST_AFTER = timedelta(minutes=15)  # a person who is at work has read it by then

_NOTIFY = text("""
    insert into notification (user_id, kind, subject, link, at)
    select u.id, :kind, :subject, :link, :now from "user" u
    left join notification_choice c on c.user_id = u.id and c.kind = :kind
    where u.id = any(:ids) and u.active and coalesce(c.shown, true)
    on conflict (user_id, kind, link) where read_at is null do nothing
""")


def notify(user_ids: Collection[int | None], *, kind: NotificationKind, subject: str, link: str) -> None:
    """Notify these staff members, but for the one who acts, once for each link they have not read yet.

    `subject` is a reference, the name of a text, or numbers: it holds no personal data.
    """
    actor = audit.current().actor
    ids = [one for one in user_ids if one is not None and actor != f"staff:{one}"]
    if ids:
        given = {"kind": kind, "subject": subject, "link": link, "ids": ids, "now": clock.now()}
        db.session.execute(_NOTIFY, given)


def notify_once(user_ids: Collection[int], *, kind: NotificationKind, subject: str, link: str) -> None:
    """Notify these staff members unless they were notified of this link before, read or not."""
    before = select(Notification.user_id).where(Notification.kind == kind, Notification.link == link)
    known = set(db.session.scalars(before.where(Notification.user_id.in_(user_ids))))
    notify([one for one in user_ids if one not in known], kind=kind, subject=subject, link=link)


def about_lead(user_id: int | None, *, kind: NotificationKind, reference: str) -> None:
    """Notify a staff member about a lead."""
    notify([user_id], kind=kind, subject=reference, link=f"/console/leads/{reference}")


def notify_of_task(user_id: int | None, *, task_id: int, reference: str) -> None:
    """Notify a staff member of a task that was given to them."""
    link = f"/console/leads/tasks/{task_id}"
    notify([user_id], kind=NotificationKind.ASSIGNED, subject=reference, link=link)


def bell_counts(user_id: int) -> tuple[int, int]:
    """Return how many kinds of alerts are open, and how many notifications a person has not read, in one statement."""
    kind = func.split_part(Alert.key, ":", 1)
    open_alerts = select(func.count(kind.distinct())).where(Alert.closed_at.is_(None)).scalar_subquery()
    mine = select(Notification.id).where(Notification.user_id == user_id, Notification.read_at.is_(None))
    unread = select(func.count()).select_from(mine.limit(MOST_COUNTED + 1).subquery()).scalar_subquery()
    row = db.session.execute(select(open_alerts, unread)).one()
    return row[0] or 0, row[1] or 0


def notifications_of(user_id: int, *, cursor: str | None = None, limit: int = 50) -> Page[Notification]:
    """Return a person's notifications, newest first. Raises Invalid."""
    rows = select(Notification).where(Notification.user_id == user_id)
    return keyset(rows, by=(Notification.id,), cursor=cursor, limit=limit, kinds=(int,))


def read(*, user_id: int, notification_id: int) -> Notification:
    """Mark a person's notification as read. Raises NotFound, also for that of another person."""
    row = db.session.get(Notification, notification_id)
    if row is None or row.user_id != user_id:
        raise NotFound("Notification not found.")
    row.read_at = row.read_at or clock.now()
    return row


def read_all(user_id: int) -> int:
    """Mark all of a person's notifications as read; return how many were not."""
    mine = update(Notification).where(Notification.user_id == user_id, Notification.read_at.is_(None))
    return len(db.session.scalars(mine.values(read_at=clock.now()).returning(Notification.id)).all())


def choices_of(user_id: int) -> Mapping[NotificationKind, tuple[bool, bool]]:
    """Return for each kind whether a person wants it in the console, and by email."""
    rows = db.session.scalars(select(NotificationChoice).where(NotificationChoice.user_id == user_id))
    chosen = {row.kind: (row.shown, row.emailed) for row in rows}
    return {kind: chosen.get(kind, (True, True)) for kind in NotificationKind}


def choose(*, user_id: int, shown: Collection[str], emailed: Collection[str]) -> None:
    """Set which kinds a person wants in the console, and which of those by email. Raises Invalid."""
    if {*shown, *emailed} - set(NotificationKind):
        raise Invalid({"kind": ["Choose from the list."]})
    for kind in NotificationKind:
        values = {"shown": kind in shown, "emailed": kind in shown and kind in emailed}
        row = insert(NotificationChoice).values(user_id=user_id, kind=kind, **values)
        db.session.execute(row.on_conflict_do_update(index_elements=["user_id", "kind"], set_=values))
    audit.record("user.notifications", object_type="user", object_id=user_id)


def take_digests() -> Mapping[int, Sequence[tuple[NotificationKind, str]]]:
    """Return user -> kind and subject of the notifications a digest is due for, and mark them as emailed.

    A person gets at most one in four hours. Of two calls at once, one gets a notification.
    """
    now = clock.now()
    lately = select(Notification.user_id).where(Notification.emailed_at > now - DIGEST_EVERY)
    waits = (
        select(Notification.id)
        .where(Notification.read_at.is_(None), Notification.emailed_at.is_(None))
        .where(Notification.at <= now - DIGEST_AFTER, Notification.user_id.not_in(lately))
        .with_for_update(skip_locked=True)
    )
    unwanted = (
        select(NotificationChoice.kind)
        .where(
            NotificationChoice.user_id == Notification.user_id, NotificationChoice.kind == Notification.kind
        )
        .where(NotificationChoice.emailed.is_(False))
    )
    waits = waits.where(~unwanted.exists())
    taken = update(Notification).where(Notification.id.in_(waits)).values(emailed_at=now)
    columns = (Notification.user_id, Notification.kind, Notification.subject)
    found: dict[int, list[tuple[NotificationKind, str]]] = defaultdict(list)
    for user_id, kind, subject in db.session.execute(taken.returning(*columns)):
        found[user_id].append((kind, subject))
    return found


def delete_old() -> None:
    """Delete notifications that were read long ago."""
    old = Notification.read_at < clock.now() - KEPT_FOR
    db.session.execute(delete(Notification).where(old).execution_options(synchronize_session=False))
