"""Undo: an act and its undo leave every row as it was, over random states and acts."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import select, text

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.contacts.rules import Person
from crm.core.db import db
from crm.core.errors import Conflict, NotFound
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import call_log, rules, service, sla
from crm.leads.models import StageMove, Task
from crm.sequences.models import Enrolment
from tests.intake.test_service import refer
from tests.leads.test_service import NOW, lead, referral  # noqa: F401 - fixtures
from tests.support import factories as support_factories

TABLES = (
    "lead",
    "referral",
    "task",
    "lead_call",
    "lead_breach",
    "contact",
    "contact_tag",
    "alert",
    "enrolment",
)


def snapshot():
    """Return every row that an act may change, without versions, which only grow."""
    db.session.flush()
    return {
        table: sorted(
            str(row.held)
            for row in db.session.execute(text(f"select to_jsonb(t) - 'version' as held from {table} t"))
        )
        for table in TABLES
    }


def move_to(of, stage):
    reason = min(rules.STAGES[of.kind][stage].reasons, default=None)
    service.move_stage(lead_id=of.id, version=of.version, to=stage, reason=reason)


def call(of, outcome):
    again = NOW + timedelta(days=2, hours=1) if outcome == "no_answer" else None
    call_log.log_call(lead_id=of.id, channel="phone", outcome=outcome, call_again_at=again)


def finish_first_task(of, _value):
    task_id = db.session.scalar(select(Task.id).where(Task.lead_id == of.id, Task.done_at.is_(None)))
    if task_id is not None:
        service.finish_task(task_id=task_id)


ACTS = {
    "move": move_to,
    "call": call,
    "tag": lambda of, tag: contacts.add_tag(contact_id=of.contact_id, tag=tag),
    "untag": lambda of, tag: contacts.remove_tag(contact_id=of.contact_id, tag=tag),
    "stop": lambda of, reason: contacts.set_clinical_stop(contact_id=of.contact_id, reason=reason),
    "lift": lambda of, _value: contacts.lift_clinical_stop(contact_id=of.contact_id),
    "outcome": lambda of, _value: service.record_outcome_sent(lead_id=of.id),
    "task": lambda of, title: service.add_task(lead_id=of.id, kind="other", title=title, due_at=NOW),
    "done": finish_first_task,
}


def do(of, what):
    """Do one act, unless it is not allowed in this state."""
    kind, value = what
    with suppress(Conflict):
        ACTS[kind](of, value)


def any_act(kind):
    return some.one_of(
        some.tuples(some.just("move"), some.sampled_from(sorted(rules.STAGES[kind]))),
        some.tuples(some.just("move"), some.sampled_from(sorted(rules.STAGES[kind]))),
        some.tuples(some.just("call"), some.sampled_from(["reached", "no_answer", "callback"])),
        some.tuples(some.sampled_from(["tag", "untag"]), some.sampled_from(["vip", "later"])),
        some.sampled_from(
            [("stop", "clinician"), ("lift", ""), ("outcome", ""), ("task", "Send"), ("done", "")]
        ),
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=some.data(), kind=some.sampled_from(rules.KINDS), late=some.booleans())
def test_act_then_undo(edge, clock, data, kind, late):
    with db.session.begin_nested() as every_example:
        person = Person(first_name="Ana", last_name="Ruiz", email="ana@example.com", time_zone="UTC")
        opened = (
            refer()
            if kind == rules.REFERRAL
            else intake.open_contact_request(request=ContactRequest(person=person, source="form"))
        )
        of = service.get(opened.lead_id)
        for earlier in data.draw(some.lists(any_act(kind), max_size=5)):
            do(of, earlier)
        if late and of.due_at is not None:
            of.due_at = NOW - timedelta(hours=1)
            db.session.flush()
            sla.escalate_overdue()
        before = snapshot()
        with audit.acting("staff:7"):
            with acts.begin("act", lead_id=of.id) as act:
                do(of, data.draw(any_act(kind)))
            service.undo_act(act.id, lead_id=of.id)
        assert snapshot() == before
        every_example.rollback()
    db.session.expire_all()


def move(of, to):
    with acts.begin("move", lead_id=of.id) as act:
        service.move_stage(lead_id=of.id, version=of.version, to=to)
    return act.id


def test_histories_grow(lead):  # noqa: F811
    service.undo_act(move(lead, "contacted"), lead_id=lead.id)
    moves = db.session.execute(select(StageMove.now, StageMove.reason).order_by(StageMove.id)).all()
    assert [tuple(one) for one in moves] == [("new", None), ("contacted", None), ("new", "undone")]
    assert lead.stage == "new"


def test_changed_since(lead):  # noqa: F811
    act_id = move(lead, "contacted")
    service.move_stage(lead_id=lead.id, version=lead.version, to="qualified")
    with pytest.raises(Conflict, match="the lead was changed"):
        service.undo_act(act_id, lead_id=lead.id)


def test_old_form_does_not_fit_after_undo(lead):  # noqa: F811
    old = lead.version
    service.undo_act(move(lead, "contacted"), lead_id=lead.id)
    with pytest.raises(Conflict):
        service.move_stage(lead_id=lead.id, version=old, to="spam")


def test_undo_once_within_an_hour_by_the_same_person(lead, clock):  # noqa: F811
    act_id = move(lead, "contacted")
    with audit.acting("staff:8"), pytest.raises(NotFound):
        service.undo_act(act_id, lead_id=lead.id)
    service.undo_act(act_id, lead_id=lead.id)
    with pytest.raises(Conflict, match="already undone"):
        service.undo_act(act_id, lead_id=lead.id)
    act_id = move(lead, "contacted")
    clock.shift(3601)
    with pytest.raises(Conflict, match="hour"):
        service.undo_act(act_id, lead_id=lead.id)


def test_restored_from_spam_as_confirmed(lead):  # noqa: F811
    service.move_stage(lead_id=lead.id, version=lead.version, to="confirmed")
    service.undo_act(move(lead, "spam"), lead_id=lead.id)
    assert (lead.stage, lead.closed_at) == ("confirmed", None)


def test_sequence_comes_back(lead):  # noqa: F811
    support_factories.shipped()
    support_factories.opted_in(lead.contact)
    held = db.session.scalar(select(Enrolment).where(Enrolment.contact_id == lead.contact_id))
    assert held is not None
    due = held.due_at
    act_id = move(lead, "spam")
    assert db.session.get_one(Enrolment, held.id, populate_existing=True).state == "exited"
    service.undo_act(act_id, lead_id=lead.id)
    assert (held.state, held.due_at) == ("active", due)


def test_nothing_noted_outside_an_act(lead):  # noqa: F811
    service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
    assert db.session.scalar(text("select count(*) from act_change")) == 0


def test_refused_act_notes_nothing(lead):  # noqa: F811
    with pytest.raises(Conflict):
        move(lead, "patient")
    service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
    assert db.session.scalar(text("select count(*) from act_change")) == 0
