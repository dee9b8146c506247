"""Stage work: tasks and clocks follow the stage; a clinical stop suspends them."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from crm.contacts import service as contacts
from crm.core import current
from crm.core.db import db
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import call_log, rules, service, stage_work
from crm.leads.models import Lead, Task
from tests.intake.test_service import refer
from tests.leads.test_service import NOW, lead, move, referral  # noqa: F401 - fixtures

SUNDAY = datetime(2026, 3, 8, 20, 0, tzinfo=UTC)


def open_tasks(of):
    rows = select(Task.title).where(Task.lead_id == of.id, Task.done_at.is_(None)).order_by(Task.id)
    return db.session.scalars(rows).all()


def test_table_names_every_stage():
    assert {kind: set(stages) for kind, stages in stage_work.STAGE_WORK.items()} == {
        kind: set(stages) for kind, stages in rules.STAGES.items()
    }


@pytest.mark.parametrize(
    "stages",
    [
        ("accepted", "scheduled"),
        ("accepted", "contacting", "scheduled"),
        ("accepted", "contacting", "patient_declined:cost"),
        ("declined:capacity",),
        ("duplicate",),
        ("entered_in_error",),
    ],
)
def test_call_task_closes(referral, stages):  # noqa: F811
    assert open_tasks(referral) == [stage_work.CALL_PATIENT]
    move(referral, *stages)
    assert open_tasks(referral) == []


@pytest.mark.parametrize(
    ("at", "end", "then", "opened"),
    [
        ("received", "duplicate", "reopen", [stage_work.CALL_PATIENT]),
        ("accepted", "entered_in_error", "reopen", [stage_work.CALL_PATIENT]),
        ("received", "declined:capacity", "in_review", [stage_work.CALL_PATIENT]),
    ],
)
def test_a_call_comes_back_with_its_lead(referral, at, end, then, opened):  # noqa: F811
    move(referral, *([] if at == "received" else [at]), end)
    if then == "reopen":
        service.reopen(lead_id=referral.id, version=referral.version, reason="A mistake")
    else:
        move(referral, then)
    assert open_tasks(referral) == opened


def test_a_call_comes_back_from_spam_unless_the_work_is_suspended(lead):  # noqa: F811
    move(lead, "contacted")
    service.add_task(lead_id=lead.id, kind="callback", title="Call again", due_at=NOW + timedelta(hours=3))
    move(lead, "spam")
    contacts.set_clinical_stop(contact_id=lead.contact_id, reason="clinician")
    service.restore_from_spam(lead_id=lead.id, version=lead.version)
    assert open_tasks(lead) == []
    contacts.lift_clinical_stop(contact_id=lead.contact_id)
    assert open_tasks(lead) == ["Call again"]


def test_call_task_stays_while_trying(referral):  # noqa: F811
    move(referral, "accepted", "contacting")
    call_log.log_call(lead_id=referral.id, channel="phone", outcome="no_answer")
    assert open_tasks(referral) == [stage_work.CALL_PATIENT]
    call_log.log_call(lead_id=referral.id, channel="phone", outcome="reached")
    assert open_tasks(referral) == []


@pytest.mark.parametrize("missed", ["no_show", "cancelled:patient", "rescheduled"])
def test_missed_visit_opens_call(referral, missed):  # noqa: F811
    move(referral, "accepted", "scheduled", missed)
    assert open_tasks(referral) == [stage_work.CALL_AGAIN_TO_BOOK]


def test_call_again_closes_when_reached(lead):  # noqa: F811
    later = NOW + timedelta(hours=3)
    call_log.log_call(lead_id=lead.id, channel="phone", outcome="no_answer", call_again_at=later)
    assert open_tasks(lead) == ["Call again"]
    call_log.log_call(lead_id=lead.id, channel="phone", outcome="reached")
    assert open_tasks(lead) == []


def test_callback_keeps_the_new_task(lead):  # noqa: F811
    later = NOW + timedelta(hours=3)
    call_log.log_call(lead_id=lead.id, channel="phone", outcome="callback", call_again_at=later)
    assert (lead.stage, open_tasks(lead)) == ("contacted", ["Call again"])


def test_due_in_opening_hours(lead):  # noqa: F811
    task = service.add_task(lead_id=lead.id, kind="other", title="Send the form", due_at=SUNDAY)
    assert task.due_at == datetime(2026, 3, 9, 15, 0, tzinfo=UTC)  # Monday, 8:00 in Los Angeles


def test_referral_on_friday_night(edge, clock):
    clock.move_to(datetime(2026, 3, 7, 3, 0, tzinfo=UTC))
    found = service.get(refer().lead_id)
    task = db.session.scalar(select(Task).where(Task.lead_id == found.id))
    for due in (task.due_at, found.due_at):
        assert current.calendar().next_open(due) == due


def test_urgent_referral(edge, clock):
    urgent = service.get(refer(urgency="urgent").lead_id)
    routine = service.get(refer(health={"reason": "PTSD"}).lead_id)
    assert (urgent.urgent, routine.urgent) == (True, False)
    assert open_tasks(urgent) == ["Urgent: " + stage_work.CALL_PATIENT]
    assert urgent.due_at == NOW + timedelta(hours=2) < routine.due_at
    move(urgent, "accepted")
    assert urgent.due_at == NOW + timedelta(hours=2)


def test_stop_suspends_and_lift_resumes(referral, clock):  # noqa: F811
    service.add_task(lead_id=referral.id, kind="other", title="Ask for records", due_at=NOW)
    before, due = open_tasks(referral), referral.due_at
    contacts.set_clinical_stop(contact_id=referral.contact_id, reason="clinician")
    assert (open_tasks(referral), referral.due_at) == ([], None)
    move(referral, "accepted")
    assert referral.due_at is None
    contacts.lift_clinical_stop(contact_id=referral.contact_id)
    assert open_tasks(referral) == before
    assert referral.due_at == due


def test_what_was_settled_during_a_stop_stays_settled(referral):  # noqa: F811
    contacts.set_clinical_stop(contact_id=referral.contact_id, reason="clinician")
    for stage in ("accepted", "scheduled"):
        move(referral, stage)
    contacts.lift_clinical_stop(contact_id=referral.contact_id)
    assert open_tasks(referral) == []


def test_task_added_during_a_stop_opens_with_its_end(referral):  # noqa: F811
    contacts.set_clinical_stop(contact_id=referral.contact_id, reason="clinician")
    service.add_task(lead_id=referral.id, kind="other", title="Ask for records", due_at=NOW)
    assert open_tasks(referral) == []
    contacts.lift_clinical_stop(contact_id=referral.contact_id)
    assert any("Ask for records" in str(task) for task in open_tasks(referral))


def test_lift_gives_an_hour(lead):  # noqa: F811
    lead.due_at = NOW - timedelta(days=1)
    db.session.flush()
    contacts.set_clinical_stop(contact_id=lead.contact_id, reason="clinician")
    contacts.lift_clinical_stop(contact_id=lead.contact_id)
    assert lead.due_at == NOW + rules.LEAST_AFTER_PAUSE


def test_new_request_of_stopped_person(lead):  # noqa: F811
    contacts.set_clinical_stop(contact_id=lead.contact_id, reason="clinician")
    person = contacts.as_person(lead.contact)
    again = intake.open_contact_request(request=ContactRequest(person=person, message="Hi", source="form"))
    made = db.session.get(Lead, again.lead_id)
    assert made.id != lead.id
    assert (made.due_at, open_tasks(made)) == (None, [])
