"""Escalation of missed deadlines."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.contacts.models import Activity
from crm.core import events
from crm.core.db import db
from crm.leads import service, sla
from crm.leads.events import LeadOverdue
from crm.leads.models import Breach, Task
from crm.staff.models import Alert
from tests.leads.test_service import lead, referral, user  # noqa: F401 - fixtures


def alerts():
    return db.session.scalars(
        select(Alert).order_by(Alert.id).execution_options(populate_existing=True)
    ).all()


def tasks():
    return db.session.scalars(select(Task).where(Task.kind == "late").order_by(Task.id)).all()


@pytest.fixture
def told(monkeypatch):
    """What was published while the test ran."""
    seen = []
    real = events.publish
    monkeypatch.setattr(events, "publish", lambda event: (seen.append(event), real(event)))
    return seen


def test_before_deadline(lead, clock):  # noqa: F811
    clock.shift(3599)
    assert sla.escalate_overdue() == 0
    assert alerts() == []


def test_escalates_once(lead, clock, told):  # noqa: F811
    sam = user()
    service.assign(lead_id=lead.id, version=lead.version, owner_id=sam.id)
    clock.shift(3601)
    assert [sla.escalate_overdue(), sla.escalate_overdue()] == [1, 0]
    [alert], [task] = alerts(), tasks()
    assert (alert.owner_id, task.owner_id) == (sam.id, sam.id)
    assert lead.reference in alert.text
    assert "Ana" not in alert.text + task.title
    assert task.due_at == lead.due_at + timedelta(hours=1, seconds=1)
    assert len(db.session.scalars(select(Activity).where(Activity.kind == "clock_ran_out")).all()) == 1
    assert [event.stage for event in told if isinstance(event, LeadOverdue)] == ["new"]


def test_without_active_owner(lead, clock):  # noqa: F811
    sam = user()
    service.assign(lead_id=lead.id, version=lead.version, owner_id=sam.id)
    sam.active = False
    clock.shift(3601)
    sla.escalate_overdue()
    assert (alerts()[0].owner_id, tasks()[0].owner_id) == (None, None)


def test_acting_closes_alert(lead, clock):  # noqa: F811
    clock.shift(3601)
    sla.escalate_overdue()
    service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
    db.session.flush()
    assert alerts()[0].closed_at is not None
    assert tasks()[0].done_at is not None
    clock.shift(timedelta(days=3).total_seconds())
    assert sla.escalate_overdue() == 1
    assert alerts()[1].closed_at is None
    assert len(db.session.scalars(select(Breach)).all()) == 2


def test_confirmation_is_not_a_staff_action(lead, clock):  # noqa: F811
    clock.shift(3601)
    sla.escalate_overdue()
    service.confirm_contact_requests(contact_id=lead.contact_id)
    assert lead.stage == "confirmed"
    assert alerts()[0].closed_at is None
    assert sla.escalate_overdue() == 0


def test_paused_is_not_overdue(referral, clock):  # noqa: F811
    service.move_stage(lead_id=referral.id, version=referral.version, to="info_requested", reason="other")
    clock.shift(timedelta(days=30).total_seconds())
    assert sla.escalate_overdue() == 0
    service.move_stage(lead_id=referral.id, version=referral.version, to="in_review")
    assert (referral.due_at, referral.clock_left) != (None, 0)
    assert sla.escalate_overdue() == 0


def test_backlog_raises_one_alert(lead, referral, clock):  # noqa: F811
    clock.shift(timedelta(days=30).total_seconds())
    assert sla.escalate_overdue() == 2
    assert [alert.key for alert in alerts()] == ["leads-long-late"]
    assert tasks() == []
