"""Crisis alerts: a text about a lead that speaks of dying or of self-harm alerts staff at once, by whatever way it came."""

from crm.leads.crisis_words import mentions_crisis
from crm.leads.queries import CRISIS_KEY
from crm.staff import alerts


def alert_if_crisis(*texts: str | None, lead_id: int, reference: str) -> bool:
    """Raise the crisis alert of a lead if one of these texts mentions a crisis; return whether one does."""
    found = any(map(mentions_crisis, texts))
    if found:
        alerts.raise_alert(
            key=f"{CRISIS_KEY}{lead_id}",
            level="danger",
            text=f"{reference}: a text may speak of a crisis. Read it now and call.",
            link=f"/console/leads/{reference}",
        )
    return found
