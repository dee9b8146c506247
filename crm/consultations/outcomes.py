"""Outcomes of past consultations: each one without a result asks for it on the next morning, once."""

from datetime import datetime

from sqlalchemy import exists, select

from crm.audit import service as audit
from crm.consultations.queries import without_outcome
from crm.contacts import service as contacts
from crm.core import clock, current
from crm.core.db import db
from crm.leads import stage_work
from crm.leads.models import Lead, Task

SLICE = 100  # consultations in one transaction
TASK, TITLE = "result", "Note the outcome of the consultation"


def ask_for_outcomes() -> int:
    """Add a task to up to 100 leads whose consultation was on an earlier day, if the clinic is open; return how many."""
    now = clock.now()
    if current.calendar().next_open(now) > now:
        return 0
    past = without_outcome().subquery()
    asked = exists().where(
        Task.lead_id == past.c.lead_id, Task.kind == TASK, Task.created_at > past.c.starts_at
    )
    rows = select(Lead).join(past, past.c.lead_id == Lead.id).where(~asked, Lead.closed_at.is_(None))
    found = db.session.scalars(
        rows.order_by(past.c.starts_at, Lead.id).limit(SLICE).with_for_update(of=Lead, skip_locked=True)
    ).all()
    for lead in found:
        _ask(lead, now)
    return len(found)


def _ask(lead: Lead, now: datetime) -> None:
    task = Task(lead_id=lead.id, kind=TASK, title=TITLE, owner_id=lead.owner_id, due_at=now, created_at=now)
    stage_work.add_task(task, lead.contact)
    detail = {"task_id": task.id, "kind": TASK}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="task_opened", detail=detail)
    audit.record("task.open", object_type="lead", object_id=lead.id, detail=detail)
