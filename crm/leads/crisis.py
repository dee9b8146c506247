"""Crisis alerts: a text about a lead that speaks of dying or of self-harm alerts staff at once, whoever wrote it."""

from sqlalchemy import select

from crm.core.db import db
from crm.leads.crisis_words import mentions_crisis
from crm.staff import alerts
from crm.staff.models import Alert

_KEY = "crisis:"


def watch(*texts: str | None, lead_id: int, reference: str) -> bool:
    """Raise the crisis alert of a lead if one of these texts mentions a crisis; return whether one does."""
    found = any(map(mentions_crisis, texts))
    if found:
        alerts.raise_alert(
            key=f"{_KEY}{lead_id}",
            level="danger",
            text=f"{reference}: a text may speak of a crisis. Read it now and call.",
            link=f"/console/leads/{reference}",
        )
    return found


def waiting_leads() -> list[int]:
    """Return the ids of leads with a crisis alert that nobody has taken yet; every list shows them first."""
    open_alerts = select(Alert.key).where(
        Alert.key.startswith(_KEY), Alert.closed_at.is_(None), Alert.owner_id.is_(None)
    )
    return [int(key.removeprefix(_KEY)) for key in db.session.scalars(open_alerts)]
