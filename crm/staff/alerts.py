"""Alerts: what a member of staff must look at. One open alert per key; each has an end."""

from sqlalchemy import text, update

from crm import clock
from crm.audit import service as audit
from crm.db import db
from crm.staff.models import Alert

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
