"""Deadlines of leads (SLA): each missed one gets an alert, a task and a timeline entry, once."""

from datetime import timedelta

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.core import clock, current, events
from crm.core.db import db
from crm.leads.events import LeadOverdue
from crm.leads.models import Breach, Lead, Task
from crm.leads.rules import label
from crm.leads.stage_work import late_alert_key
from crm.staff import alerts
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind

SLICE = 100  # leads in one transaction
ACT_WITHIN = timedelta(hours=1)  # opening time
BACKLOG = timedelta(
    days=7
)  # leads that are overdue for longer share one alert: staff cannot process a hundred alerts


def escalate_overdue() -> int:
    """Escalate up to 100 leads past a deadline that was not escalated yet; return how many."""
    now = clock.now()
    noted = exists().where(Breach.lead_id == Lead.id, Breach.due_at == Lead.due_at)
    late = (
        select(Lead)
        .where(Lead.closed_at.is_(None), Lead.due_at < now, ~noted)
        .order_by(Lead.due_at, Lead.id)
        .limit(SLICE)
        .with_for_update(of=Lead, skip_locked=True)
    )
    found = db.session.scalars(late).all()
    for lead in found:
        _escalate(lead)
    return len(found)


def _escalate(lead: Lead) -> None:
    now = clock.now()
    row = insert(Breach).values(lead_id=lead.id, stage=lead.stage, due_at=lead.due_at, at=now)
    if db.session.execute(row.on_conflict_do_nothing().returning(Breach.id)).first() is None:
        return
    detail = {"stage": lead.stage, "due_at": lead.due_at.isoformat() if lead.due_at else None}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="clock_ran_out", detail=detail)
    audit.record("lead.late", object_type="lead", object_id=lead.id, detail=detail)
    events.publish(LeadOverdue(lead_id=lead.id, contact_id=lead.contact_id, kind=lead.kind, stage=lead.stage))
    if lead.due_at is not None and lead.due_at < now - BACKLOG:
        alerts.raise_alert(
            key="leads-long-late",
            level="warning",
            text="Leads are more than a week overdue.",
            link="/console/leads/work?list=overdue",
        )
    else:
        _hand_over(lead)


def _hand_over(lead: Lead) -> None:
    now = clock.now()
    owner_id = lead.owner_id if lead.owner is not None and lead.owner.active else None
    alert_id = alerts.raise_alert(
        key=late_alert_key(lead.id),
        level="warning",
        text=f"{lead.reference} ({label(lead.stage)}) is overdue.",
        link=f"/console/leads/{lead.reference}",
    )
    if alert_id is not None and owner_id is not None:
        alerts.assign(alert_id=alert_id, owner_id=owner_id)
    notifications.about_lead(owner_id, kind=NotificationKind.BREACH, reference=lead.reference)
    db.session.add(
        Task(
            lead_id=lead.id,
            kind="late",
            title=f"Overdue in “{label(lead.stage)}”: act on this lead",
            owner_id=owner_id,
            due_at=current.calendar().add_time(now, ACT_WITHIN),
            created_at=now,
        )
    )


def resolve_late_alert(lead_id: int) -> None:
    """Close the alert and the tasks of an overdue lead after staff acted on it."""
    alerts.close(late_alert_key(lead_id))
    now, actor = clock.now(), audit.current().actor
    open_tasks = select(Task).where(Task.lead_id == lead_id, Task.kind == "late", Task.done_at.is_(None))
    for task in db.session.scalars(open_tasks).all():
        task.done_at, task.done_by = now, actor
