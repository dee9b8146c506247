"""Notifications: what makes them, their page, settings, and the digest without a word of health."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.audit import service as audit
from crm.content import approval
from crm.content.models import VersionState
from crm.core.db import db, transaction
from crm.leads import assignment, service, sla
from crm.leads.tasks import service as tasks
from crm.leads.tasks.service import TaskForm
from crm.messages import notification_emails
from crm.messages.models import Message
from crm.portal import service as portal
from crm.staff import service as staff
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import Notification, NotificationKind
from tests.desk.test_console_work import new_lead
from tests.intake.test_service import refer
from tests.support import factories
from tests.support.browser_client import BrowserClient, member

PAGE = "/console/notifications"
ALL = [str(kind) for kind in NotificationKind]


@pytest.fixture
def ana(client, database, clock):
    return member("front_desk", name="Ana Desk")


def of(user):
    rows = select(Notification).where(Notification.user_id == user.id).order_by(Notification.id)
    return [(str(row.kind), row.subject, row.link) for row in db.session.scalars(rows)]


def owned(lead, user):
    with transaction():
        service.assign(lead_id=lead.id, version=lead.version, owner_id=user.id)
    return lead


def test_assigned_once_and_not_by_oneself(ana):
    lead = owned(new_lead(1), ana)
    assert of(ana) == [("assigned", lead.reference, f"/console/leads/{lead.reference}")]
    with transaction(), audit.acting(f"staff:{ana.id}"):
        other = service.get(new_lead(2).id)
        service.assign(lead_id=other.id, version=other.version, owner_id=ana.id)
    assert len(of(ana)) == 1


def test_assigned_by_rule(ana):
    with transaction():
        assignment.set_assignee(user_id=ana.id, languages=[], states=[], capacity=None)
    one = new_lead(1)
    assert of(ana) == [("assigned", one.reference, f"/console/leads/{one.reference}")]
    with transaction():
        assignment.remove_assignee(user_id=ana.id)
    many = [new_lead(number).id for number in range(2, 9)]
    with transaction():
        assignment.set_assignee(user_id=ana.id, languages=[], states=[], capacity=None)
        assignment.assign_new(many)
    assert of(ana)[1:] == [("assigned", "7 leads", "/console/leads?owner=me")]


def test_task_given(ana, clock):
    lead = new_lead(1)
    with transaction():
        task = service.add_task(
            lead_id=lead.id, kind="other", title="Do", due_at=lead.created_at, owner_id=ana.id
        )
        assert of(ana) == [("assigned", lead.reference, f"/console/leads/tasks/{task.id}")]
        notifications.read_all(ana.id)
        tasks.assign(task_id=task.id, owner_id=None)
        tasks.edit(
            task_id=task.id,
            form=TaskForm(title="Do", due_at=task.due_at, owner_id=ana.id),
            version=task.version,
        )
    assert len(of(ana)) == 2


def test_mention_reply_and_breach(ana, clock):
    with transaction():
        lead = service.get(refer().lead_id)
    owned(lead, ana)
    with transaction():
        notifications.read_all(ana.id)
        service.add_note(lead_id=lead.id, text="@ana please look: ketamine")
        portal.write_message(lead=lead, text="The records are on the way", from_clinic=False)
    clock.shift(30 * 86_400)
    with transaction():
        lead.due_at = lead.created_at + timedelta(days=29)
        db.session.flush()
        sla.escalate_overdue()
    found = of(ana)[1:]
    assert [kind for kind, _, _ in found] == ["mentioned", "reply", "breach"]
    assert {subject for _, subject, _ in found} == {lead.reference}


def test_review(ana, database):
    doctor = member("clinician")
    with transaction():
        factories.shipped()
        version = db.session.scalar(db.text("select max(id) from content_version"))
        row = approval.get(version)
        row.state, row.author = VersionState.DRAFT, f"staff:{member('marketer').id}"
        db.session.flush()
        approval.submit(version, actor=row.author)
    assert [kind for kind, _, _ in of(doctor)] == ["review"]
    assert of(ana) == []


def test_bell_page_and_settings(ana, database):
    lead, visitor = owned(new_lead(1), ana), BrowserClient(database).sign_in(ana)
    page = visitor.get(PAGE).text
    assert re.search(r'href="/console/notifications">.*?<span class="bubble">1</span>', page, re.DOTALL)
    action = re.search(rf'action="({PAGE}/\d+/open)"', page)[1]
    assert visitor.post(action).location == f"/console/leads/{lead.reference}"
    assert notifications.bell_counts(ana.id)[1] == 0
    owned(new_lead(2), ana)
    visitor.post(f"{PAGE}/read")
    assert notifications.bell_counts(ana.id)[1] == 0
    visitor.post(f"{PAGE}/settings", {"shown": [kind for kind in ALL if kind != "assigned"], "emailed": ALL})
    owned(new_lead(3), ana)
    assert notifications.bell_counts(ana.id)[1] == 0
    assert visitor.post(f"{PAGE}/settings", {"shown": "x"}).status_code == 422
    stranger = BrowserClient(database).sign_in(member("viewer"))
    stranger.get(PAGE)
    assert stranger.post(action).status_code == 404


def test_digest(ana, clock, database):
    with transaction():
        factories.shipped()
        service.add_note(lead_id=new_lead(9).id, text="@ana ketamine for pain")
    for number in (1, 2):
        owned(new_lead(number), ana)

    def send():
        with transaction():
            return notification_emails.send_digests(clinic=database.settings.clinic)

    assert send() == 0  # a person at work has read it by then
    clock.shift(15 * 60)
    assert send() == 1
    message = db.session.scalars(select(Message).order_by(Message.id.desc())).first()
    assert message.params["facts"]["reference"] == "2 assignments, 1 mention"
    owned(new_lead(3), ana)
    clock.shift(3 * 3600)
    assert send() == 0  # at most one in four hours
    with transaction():
        notifications.choose(user_id=ana.id, shown=ALL, emailed=["breach"])
    clock.shift(2 * 3600)
    assert send() == 0  # not by email
    with transaction():
        notifications.choose(user_id=ana.id, shown=ALL, emailed=ALL)
    assert send() == 1


def test_digest_without_approved_text(ana, clock, database):
    owned(new_lead(1), ana)
    clock.shift(3600)
    with transaction():
        assert notification_emails.send_digests(clinic=database.settings.clinic) == 0
    alert = db.session.scalar(db.text("select key from alert where key = 'no-text-staff-digest'"))
    assert alert == "no-text-staff-digest"


def test_old_ones_go(ana, clock):
    owned(new_lead(1), ana)
    with transaction():
        notifications.read_all(ana.id)
    clock.shift(91 * 86_400)
    with transaction():
        notifications.delete_old()
    assert of(ana) == []
    assert staff.get(ana.id)
