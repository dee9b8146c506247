"""Alerts for staff. At most one open alert per key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import case, func, select, text, update

from crm.audit import service as audit
from crm.core import clock, events
from crm.core.db import db
from crm.core.errors import Conflict, NotFound
from crm.staff.events import AlertClosed
from crm.staff.models import Alert, AlertLevel

LevelName = Literal["danger", "warning", "info"]
GROUPS: Mapping[str, tuple[str, str | None]] = {
    "crisis": ("Texts that may speak of a crisis. Read each one now and call", None),
    "import-crisis": (
        "Rows of imports that may speak of a crisis. Read each one now and call",
        "/console/import",
    ),
    "contact-crisis": (
        "Texts about people without a lead that may speak of a crisis. Read each one now and call",
        "/console/contacts",
    ),
    "guessing": ("Passwords, codes or links are being guessed", "/console/audit?action=secret."),
    "erasure-asked": ("People asked to be erased. Decide and answer each of them", None),
    "infected": ("Files in which the virus scanner found something", None),
    "emergency": ("Records opened as an emergency. Check each reason", None),
    "lead-late": ("Overdue leads", "/console/leads/work?list=overdue"),
    "portal-message": ("Messages from practices", None),
    "portal-correction": ("Referrals that practices corrected", None),
    "batch": ("Email batches refused or not built", "/console/mail#undecided"),
    "content": ("Approved content changed or expired; its emails wait", "/console/content"),
    "review": ("Emails that wait for review", "/console/content/review"),
    "exception": ("Exceptions from the claims check to sign", "/console/content/review"),
    "comment": ("Comments on emails that need a reply", "/console/content"),
    "changes": ("Emails with changes requested", "/console/content"),
    "voided": ("Changed blocks whose emails wait for an approval", "/console/content"),
    "safety": ("Safety changes of blocks", "/console/content/review"),
    "content-expiry": ("Approvals that end soon or have ended", "/console/content"),
    "authorization": ("Revoked testimonials; their emails wait", None),
    "try": ("Test emails that could not be built", None),
    "sequence-draft": ("New versions of sequences that were not published", "/console/sequences"),
    "asked-for-call": ("People without an open lead who asked for a call", "/console/contacts"),
    "unreadable-plan": ("Sequences whose plan cannot be read", "/console/sequences"),
    "untranslated": ("Live sequences without text in a language", "/console/sequences"),
    "campaign": ("Broadcasts paused automatically", "/console/campaigns"),
    "campaign-freeze": ("Broadcasts that cannot go on", "/console/campaigns"),
    "campaign-maintenance": ("Broadcasts that cannot go on", "/console/campaigns"),
    "campaign-refused": ("Broadcasts that are due and cannot begin", "/console/campaigns"),
    "events-failed": ("Posts of mail events that were set aside", "/console/mail#events"),
    "job": ("Background jobs that fail", None),
    "stream-near": ("Email streams close to their automatic stop", "/console/mail"),
    "stream-rates": ("Bounces or complaints about transactional mail", "/console/mail"),
    "stream": ("Email streams stopped automatically", "/console/mail"),
    "views": ("Staff who opened many records in a short time", None),
}
"""Kind of alert -> text for several of them, and the page that lists them. The kind is what stands before the colon of a key."""
SHOWN = 20  # single alerts under a group

_RAISE = text("""
    insert into alert (key, level, text, link, raised_at)
    select :key, :level, :text, :link, :now
    where not exists (select 1 from alert where key = :key and closed_at > :closed_since and closed_by <> 'system')
    on conflict (key) where closed_at is null do nothing returning id
""")


def raise_alert(
    *,
    key: str,
    level: LevelName,
    text: str,
    link: str | None = None,
    remind_after: timedelta = timedelta(),
) -> int | None:
    """Open an alert, unless one with this key is open; return its id. `text` holds no personal data.

    With `remind_after`, it opens only so long after a person closed the last one: for what lasts, seen or not.
    """
    now = clock.now()
    given = {"key": key, "level": level, "text": text, "link": link, "now": now}
    found = db.session.execute(_RAISE, {**given, "closed_since": now - remind_after}).first()
    if found is not None:
        audit.record("alert.raised", object_type="alert", object_id=found.id)
    return found.id if found else None


def raise_anew(key: str) -> None:
    """Take the open alert with this key from the staff member who has taken it, if any; it is emailed again."""
    taken = update(Alert).where(Alert.key == key, Alert.closed_at.is_(None), Alert.owner_id.is_not(None))
    anew = taken.values(owner_id=None, emailed_at=None).returning(Alert.id)
    alert_id = db.session.scalar(anew.execution_options(synchronize_session="fetch"))
    if alert_id is not None:
        audit.record("alert.raised", object_type="alert", object_id=alert_id)


def close(key: str) -> None:
    """Close the open alert with this key, if any."""
    db.session.execute(
        update(Alert)
        .where(Alert.key == key, Alert.closed_at.is_(None))
        .values(closed_at=clock.now(), closed_by=audit.current().actor)
    )


def close_key(key: str) -> None:
    """Close the open alert with this key, if any, as a staff member's act: what waited for it resumes."""
    found = db.session.scalar(select(Alert.id).where(Alert.key == key, Alert.closed_at.is_(None)))
    if found is not None:
        close_one(found)


def open_text(key: str) -> str | None:
    """Return the text of the open alert with this key; None where none is open."""
    return db.session.scalar(select(Alert.text).where(Alert.key == key, Alert.closed_at.is_(None)))


@dataclass(frozen=True, kw_only=True)
class Group:
    """All open alerts of one kind. `alerts` holds the worst and oldest, at most SHOWN."""

    kind: str
    level: AlertLevel  # the worst
    text: str
    link: str | None
    since: datetime
    count: int
    alerts: Sequence[Alert]


_KIND = func.split_part(Alert.key, ":", 1)


def groups() -> list[Group]:
    """Return the open alerts, one line per kind, the worst first, then the oldest.

    One statement, however many alerts are open.
    """
    urgency = case({level: place for place, level in enumerate(AlertLevel)}, value=Alert.level)
    place = func.row_number().over(partition_by=_KIND, order_by=(urgency, Alert.raised_at, Alert.id))
    ranked = (
        select(Alert.id, place.label("place"), func.count().over(partition_by=_KIND).label("count"))
        .where(Alert.closed_at.is_(None))
        .subquery()
    )
    found = db.session.execute(
        select(Alert, ranked.c.count)
        .join(ranked, ranked.c.id == Alert.id)
        .where(ranked.c.place <= SHOWN)
        .order_by(urgency, Alert.raised_at, Alert.id)
    )
    kinds: dict[str, list[Alert]] = {}
    counts = {}
    for alert, count in found:
        kind = alert.key.partition(":")[0]
        kinds.setdefault(kind, []).append(alert)
        counts[kind] = count
    return [_group(kind, alerts, counts[kind]) for kind, alerts in kinds.items()]


def _group(kind: str, alerts: Sequence[Alert], count: int) -> Group:
    first = alerts[0]
    text, link = GROUPS.get(kind, (first.text, first.link)) if count > 1 else (first.text, first.link)
    since = min(alert.raised_at for alert in alerts)
    return Group(
        kind=kind, level=first.level, text=text, link=link, since=since, count=count, alerts=list(alerts)
    )


def assign_all(*, kind: str, owner_id: int) -> int:
    """Assign all open alerts of a kind to a staff member; return how many. Raises Conflict if none is open."""
    return len(_on_all(kind, "alert.taken", owner_id=owner_id))


def close_all(kind: str) -> int:
    """Close all open alerts of a kind; return how many. Raises Conflict if none is open."""
    closed = _on_all(kind, "alert.closed", closed_at=clock.now(), closed_by=audit.current().actor)
    for key in closed:
        events.publish(AlertClosed(key=key))
    return len(closed)


def _on_all(kind: str, act: str, **values: object) -> Sequence[str]:
    mine = update(Alert).where(_KIND.in_([kind]), Alert.closed_at.is_(None)).values(**values)
    found = db.session.execute(
        mine.returning(Alert.id, Alert.key).execution_options(synchronize_session=False)
    ).all()
    if not found:
        raise Conflict("These alerts were closed in the meantime.")
    db.session.expire_all()
    audit.record(act, object_type="alert", detail={"kind": kind, "ids": [row.id for row in found[:1_000]]})
    return [row.key for row in found]


@dataclass(frozen=True, kw_only=True)
class Unsent:
    """Open alerts that no email has reported yet. The times are those of the oldest."""

    urgent: int
    others: int
    urgent_since: datetime | None
    others_since: datetime | None
    last_sent: datetime | None  # when the last email left


def unsent() -> Unsent:
    """Return the alerts that the next email would report, and when the last one left."""
    waits = Alert.closed_at.is_(None) & Alert.emailed_at.is_(None)
    urgent, other = waits & (Alert.level == AlertLevel.DANGER), waits & (Alert.level == AlertLevel.WARNING)
    row = db.session.execute(
        select(
            func.count().filter(urgent),
            func.count().filter(other),
            func.min(Alert.raised_at).filter(urgent),
            func.min(Alert.raised_at).filter(other),
            func.max(Alert.emailed_at),
        )
    ).one()
    return Unsent(urgent=row[0], others=row[1], urgent_since=row[2], others_since=row[3], last_sent=row[4])


def mark_sent() -> int:
    """Mark all open alerts as reported by email; return how many were new. Of two concurrent calls, one gets them."""
    waits = update(Alert).where(Alert.closed_at.is_(None), Alert.emailed_at.is_(None))
    return len(db.session.scalars(waits.values(emailed_at=clock.now()).returning(Alert.id)).all())


def closed_lately(limit: int = 20) -> Sequence[Alert]:
    """Return the most recently closed alerts, newest first."""
    return db.session.scalars(
        select(Alert).where(Alert.closed_at.is_not(None)).order_by(Alert.closed_at.desc()).limit(limit)
    ).all()


def assign(*, alert_id: int, owner_id: int) -> None:
    """Assign an open alert to a staff member. Raises NotFound, Conflict if it is closed."""
    _open(alert_id).owner_id = owner_id
    audit.record("alert.taken", object_type="alert", object_id=alert_id)


def close_one(alert_id: int) -> None:
    """Close one alert. Raises NotFound, Conflict if it is already closed."""
    alert = _open(alert_id)
    alert.closed_at, alert.closed_by = clock.now(), audit.current().actor
    db.session.flush()
    audit.record("alert.closed", object_type="alert", object_id=alert_id)
    events.publish(AlertClosed(key=alert.key))


def _open(alert_id: int) -> Alert:
    alert = db.session.get(Alert, alert_id, with_for_update={"of": Alert})
    if alert is None:
        raise NotFound("Alert not found.")
    if alert.closed_at is not None:
        raise Conflict("This alert was closed in the meantime.")
    return alert
