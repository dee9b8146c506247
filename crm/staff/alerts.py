"""Alerts: what a member of staff must look at. One open alert per key; each has an end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select, text, update

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, NotFound
from crm.staff.models import Alert

LEVELS = ("danger", "warning", "info")
GROUPS: Mapping[str, tuple[str, str]] = {  # kind -> what many of it are called, and where all of them are
    "lead-late": ("Overdue leads", "/console/leads/work?list=overdue"),
    "batch": ("Batches of mail were refused or could not be built", "/console/mail#undecided"),
    "content": ("Approved texts changed or expired; emails with them wait", "/console/content"),
    "campaign": ("Campaigns paused themselves", "/console/campaigns"),
    "stream": ("Kinds of mail stopped themselves", "/console/mail"),
}
SHOWN = 20  # single alerts under a group

_RAISE = text("""
    insert into alert (key, level, text, link, raised_at) values (:key, :level, :text, :link, :now)
    on conflict (key) where closed_at is null do nothing returning id
""")


def raise_alert(*, key: str, level: str, text: str, link: str | None = None) -> int | None:
    """Open an alert, unless one with this key is open. `level` is danger, warning or info; no personal data in `text`."""
    found = db.session.execute(
        _RAISE, {"key": key, "level": level, "text": text, "link": link, "now": clock.now()}
    ).first()
    if found is not None:
        audit.record("alert.raised", object_type="alert", object_id=found.id)
    return found.id if found else None


def close(key: str) -> None:
    """Close the open alert with this key, where there is one."""
    db.session.execute(
        update(Alert)
        .where(Alert.key == key, Alert.closed_at.is_(None))
        .values(closed_at=clock.now(), closed_by=audit.current().actor)
    )


@dataclass(frozen=True, kw_only=True)
class Group:
    """All open alerts of one kind. `alerts` holds the gravest and oldest of them, at most SHOWN."""

    kind: str
    level: str  # of the gravest
    text: str
    link: str | None
    since: datetime
    count: int
    alerts: Sequence[Alert]


_KIND = func.split_part(Alert.key, ":", 1)


def groups() -> list[Group]:
    """Return the open alerts, one line per kind, the gravest first, then the oldest.

    Two statements however many are open: a hundred late leads are one thing to see to, not a hundred.
    """
    gravity = case({level: place for place, level in enumerate(LEVELS)}, value=Alert.level, else_=len(LEVELS))
    place = func.row_number().over(partition_by=_KIND, order_by=(gravity, Alert.raised_at, Alert.id))
    ranked = (
        select(Alert.id, place.label("place"), func.count().over(partition_by=_KIND).label("count"))
        .where(Alert.closed_at.is_(None))
        .subquery()
    )
    found = db.session.execute(
        select(Alert, ranked.c.count)
        .join(ranked, ranked.c.id == Alert.id)
        .where(ranked.c.place <= SHOWN)
        .order_by(gravity, Alert.raised_at, Alert.id)
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


def count_kinds() -> int:
    """Return how many kinds of alerts are open: what the bar at the top shows."""
    return db.session.scalar(select(func.count(_KIND.distinct())).where(Alert.closed_at.is_(None))) or 0


def assign_all(*, kind: str, owner_id: int) -> int:
    """Assign all open alerts of a kind to a staff member; return how many."""
    return _on_all(kind, "alert.taken", owner_id=owner_id)


def close_all(kind: str) -> int:
    """Close all open alerts of a kind in the name of the current actor; return how many."""
    return _on_all(kind, "alert.closed", closed_at=clock.now(), closed_by=audit.current().actor)


def _on_all(kind: str, act: str, **values: object) -> int:
    mine = update(Alert).where(_KIND.in_([kind]), Alert.closed_at.is_(None)).values(**values)
    ids = db.session.scalars(mine.returning(Alert.id).execution_options(synchronize_session=False)).all()
    if not ids:
        raise Conflict("These alerts were closed in the meantime.")
    db.session.expire_all()
    audit.record(act, object_type="alert", detail={"kind": kind, "ids": list(ids[:1_000])})
    return len(ids)


@dataclass(frozen=True, kw_only=True)
class Untold:
    """Open alerts that were not emailed yet. Moments are those of the oldest of each sort."""

    urgent: int
    others: int
    urgent_since: datetime | None
    others_since: datetime | None
    last_told: datetime | None  # when the last alert email was sent


def untold() -> Untold:
    """Return what an email would tell, and when the last one left."""
    waits = Alert.closed_at.is_(None) & Alert.emailed_at.is_(None)
    urgent, other = waits & (Alert.level == "danger"), waits & (Alert.level == "warning")
    row = db.session.execute(
        select(
            func.count().filter(urgent),
            func.count().filter(other),
            func.min(Alert.raised_at).filter(urgent),
            func.min(Alert.raised_at).filter(other),
            func.max(Alert.emailed_at),
        )
    ).one()
    return Untold(urgent=row[0], others=row[1], urgent_since=row[2], others_since=row[3], last_told=row[4])


def note_told() -> int:
    """Note that an email tells of all open alerts; return how many were new. Of two at once, one gets them."""
    waits = update(Alert).where(Alert.closed_at.is_(None), Alert.emailed_at.is_(None))
    return len(db.session.scalars(waits.values(emailed_at=clock.now()).returning(Alert.id)).all())


def closed_lately(limit: int = 20) -> Sequence[Alert]:
    """Return the alerts closed last, newest first."""
    return db.session.scalars(
        select(Alert).where(Alert.closed_at.is_not(None)).order_by(Alert.closed_at.desc()).limit(limit)
    ).all()


def assign(*, alert_id: int, owner_id: int) -> None:
    """Assign an open alert to a staff member. Raises Conflict if it is closed."""
    _open(alert_id).owner_id = owner_id
    audit.record("alert.taken", object_type="alert", object_id=alert_id)


def close_one(alert_id: int) -> None:
    """Close one alert in the name of the current actor. Raises Conflict if it is closed already."""
    alert = _open(alert_id)
    alert.closed_at, alert.closed_by = clock.now(), audit.current().actor
    audit.record("alert.closed", object_type="alert", object_id=alert_id)


def _open(alert_id: int) -> Alert:
    alert = db.session.get(Alert, alert_id, with_for_update={"of": Alert})
    if alert is None:
        raise NotFound("Alert not found.")
    if alert.closed_at is not None:
        raise Conflict("This alert was closed in the meantime.")
    return alert
