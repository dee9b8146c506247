"""Crises: a text about a lead that speaks of dying or of self-harm alerts staff at once, by whatever way it came.

Until a staff member closes the alert, the other work on the person is suspended: nobody shall call them for a routine
matter. The task and the alert are one thing: closing one closes the other.
"""

from collections.abc import Sequence

from sqlalchemy import select

from crm.core import clock
from crm.core.db import db
from crm.leads import stage_work
from crm.leads.crisis_words import mentions_crisis
from crm.leads.models import Lead, Task
from crm.leads.queries import CRISIS, CRISIS_KEY
from crm.staff import alerts
from crm.staff.models import Alert

TITLE = "Crisis: read the text and act now"


def alert_if_crisis(*texts: str | None, lead_id: int, reference: str) -> bool:
    """Raise the crisis alert of a lead if one of these texts mentions a crisis; return whether one does.

    One that a staff member has taken is raised anew: they may not know this text.
    """
    found = any(map(mentions_crisis, texts))
    if found:
        key = f"{CRISIS_KEY}{lead_id}"
        raised = alerts.raise_alert(
            key=key,
            level="danger",
            text=f"{reference}: a text may speak of a crisis. Read it now and call.",
            link=f"/console/leads/{reference}",
        )
        if raised is None:
            alerts.raise_anew(key)
        else:
            _suspend(lead_id)
    return found


def alert_if_person_in_crisis(text: str, *, contact_id: int) -> None:
    """Raise the crisis alert of a person's newest lead, an open one before others, if a text about them mentions a crisis.

    A person without a lead has an alert of their own, whose link is their page.
    """
    if not mentions_crisis(text):
        return
    newest = select(Lead).where(Lead.contact_id == contact_id)
    lead = db.session.scalar(newest.order_by(Lead.closed_at.is_not(None), Lead.id.desc()).limit(1))
    if lead is not None:
        alert_if_crisis(text, lead_id=lead.id, reference=lead.reference)
        return
    key = f"contact-crisis:{contact_id}"
    raised = alerts.raise_alert(
        key=key,
        level="danger",
        text="A text about a person without a lead may speak of a crisis. Read it now and call.",
        link=f"/console/contacts/{contact_id}",
    )
    if raised is None:
        alerts.raise_anew(key)


def _suspend(lead_id: int) -> None:
    db.session.flush()
    lead, now = db.session.get_one(Lead, lead_id), clock.now()
    stage_work.suspend(lead.contact_id)
    db.session.add(
        Task(
            lead_id=lead_id, kind=CRISIS, title=TITLE, owner_id=lead.owner_id, due_at=now, created_at=now
        )
    )  # fmt: skip
    db.session.flush()


def assign(contact_id: int, *, owner_id: int) -> None:
    """Assign the open crisis alerts of a person to a staff member."""
    for alert_id in _alerts(_leads(contact_id)):
        alerts.assign(alert_id=alert_id, owner_id=owner_id)


def close(contact_id: int) -> None:
    """Close the open crisis alerts of a person."""
    close_of_leads(_leads(contact_id))


def close_of_leads(lead_ids: Sequence[int]) -> None:
    """Close the open crisis alerts of these leads."""
    for alert_id in _alerts(lead_ids):
        alerts.close_one(alert_id)


def _leads(contact_id: int) -> Sequence[int]:
    return db.session.scalars(select(Lead.id).where(Lead.contact_id == contact_id)).all()


def _alerts(lead_ids: Sequence[int]) -> Sequence[int]:
    keys = [f"{CRISIS_KEY}{lead_id}" for lead_id in lead_ids]
    return db.session.scalars(select(Alert.id).where(Alert.key.in_(keys), Alert.closed_at.is_(None))).all()


def end(key: str) -> None:
    """Resume the work on a person whose crisis alert was closed."""
    lead = db.session.get(Lead, int(key.removeprefix(CRISIS_KEY)))
    if lead is not None:
        stage_work.close_tasks(lead.id, kinds=(CRISIS,))
        stage_work.resume(lead.contact_id)
