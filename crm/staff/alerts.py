"""Alerts: what a member of staff must look at. One open alert per key; each has an end."""

from collections.abc import Sequence

from sqlalchemy import case, select, text, update

from crm import clock
from crm.audit import service as audit
from crm.db import db
from crm.errors import Conflict, NotFound
from crm.staff.models import Alert

LEVELS = ("danger", "warning", "info")

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


def open_now(limit: int = 100) -> Sequence[Alert]:
    """Return open alerts: the gravest first, then the oldest; at most `limit`."""
    gravity = case({level: place for place, level in enumerate(LEVELS)}, value=Alert.level, else_=len(LEVELS))
    rows = select(Alert).where(Alert.closed_at.is_(None)).order_by(gravity, Alert.raised_at, Alert.id)
    return db.session.scalars(rows.limit(limit)).all()


def closed_lately(limit: int = 20) -> Sequence[Alert]:
    """Return the alerts closed last, newest first."""
    return db.session.scalars(
        select(Alert).where(Alert.closed_at.is_not(None)).order_by(Alert.closed_at.desc()).limit(limit)
    ).all()


def take(*, alert_id: int, owner_id: int) -> None:
    """Make somebody the owner of an open alert. Raises Conflict when it is closed."""
    _open(alert_id).owner_id = owner_id
    audit.record("alert.taken", object_type="alert", object_id=alert_id)


def close_one(alert_id: int) -> None:
    """Close one alert, by whoever is acting. Raises Conflict when it is closed already."""
    alert = _open(alert_id)
    alert.closed_at, alert.closed_by = clock.now(), audit.current().actor
    audit.record("alert.closed", object_type="alert", object_id=alert_id)


def _open(alert_id: int) -> Alert:
    alert = db.session.get(Alert, alert_id, with_for_update={"of": Alert})
    if alert is None:
        raise NotFound("There is no such alert.")
    if alert.closed_at is not None:
        raise Conflict("This alert was closed in the meantime.")
    return alert
