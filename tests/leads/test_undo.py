"""Undo: an act and its undo leave every row as it was, over random states and acts."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import select, text

from crm.audit import acts
from crm.audit import service as audit
from crm.consent import service as consent
from crm.consultations import service as consultations
from crm.contacts import service as contacts
from crm.contacts.rules import Person
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.duplicates import service as duplicates
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import call_log, rules, service, sla
from crm.leads.models import StageMove, Task
from crm.messages.models import Message
from crm.sequences import planner
from crm.sequences.models import Enrolment
from tests.intake.test_service import refer
from tests.leads.test_service import NOW, lead, referral  # noqa: F401 - fixtures
from tests.support import factories as support_factories

SOON = datetime(2026, 3, 5, 18, 0, tzinfo=UTC)  # a Thursday
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
    "consultation",
    "message",
)
IN_PART = {  # what histories and evidence leave of a row
    "consent_state": "contact_id, topic, granted, address_index",
    "activity": "contact_id, id",
}
OTHER = Person(first_name="Ann", last_name="Ruiz", email="ann@example.com", time_zone="UTC")


def snapshot():
    """Return every row that an act may change, without versions, which only grow."""
    db.session.flush()
    whole = {table: f"select to_jsonb(t) - 'version' from {table} t" for table in TABLES}
    parts = {
        table: f"select to_jsonb(t) from (select {columns} from {table}) t"
        for table, columns in IN_PART.items()
    }
    return {
        table: sorted(map(str, db.session.scalars(text(query)))) for table, query in (whole | parts).items()
    }


def same(before):
    """Return whether everything is as it was; histories may have grown."""
    after = snapshot()
    grown = set(before.pop("activity")) - set(after.pop("activity"))
    return not grown and after == before


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


def book(of, days):
    consultations.book(
        lead_id=of.id, version=of.version, starts_at=SOON + timedelta(days=days), confirmed=True
    )


def rebook(of, days):
    booked = consultations.booked_consultation(of.id)
    if booked is not None:
        consultations.rebook(consultation_id=booked.id, starts_at=SOON + timedelta(days=days), confirmed=True)


def finish(of, state):
    booked = consultations.booked_consultation(of.id)
    if booked is not None:
        consultations.finish(consultation_id=booked.id, state=state, version=of.version)


def restore_or_reopen(of, _value):
    if of.stage == rules.SPAM:
        service.restore_from_spam(lead_id=of.id, version=of.version)
    else:
        service.reopen(lead_id=of.id, version=of.version, reason="A mistake")


ACTS = {
    "book": book,
    "rebook": rebook,
    "finish": finish,
    "reopen": restore_or_reopen,
    "assign": lambda of, _value: service.assign(lead_id=of.id, version=of.version, owner_id=None),
    "move": move_to,
    "call": call,
    "tag": lambda of, tag: contacts.add_tag(contact_id=of.contact_id, tag=tag),
    "untag": lambda of, tag: contacts.remove_tag(contact_id=of.contact_id, tag=tag),
    "stop": lambda of, reason: contacts.set_clinical_stop(contact_id=of.contact_id, reason=reason),
    "lift": lambda of, _value: contacts.lift_clinical_stop(contact_id=of.contact_id),
    "outcome": lambda of, _value: service.record_outcome_sent(lead_id=of.id, what="report", how="fax"),
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
        some.tuples(some.sampled_from(["book", "rebook"]), some.sampled_from([0, 1])),
        some.sampled_from([("finish", "cancelled"), ("reopen", ""), ("assign", "")]),
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
            consultations.undo_act(act.id, lead_id=of.id)
        assert same(before)
        every_example.rollback()
    db.session.expire_all()


def decide(contact, decision):
    """One of the two people has decided about our emails, or not."""
    if decision != "none":
        support_factories.opted_in(contact)
    if decision == "out":
        consent.withdraw(contact_id=contact.id, topic="prospect_edu", source="preferences")
    if decision == "stopped":
        contacts.set_clinical_stop(contact_id=contact.id, reason="clinician")


DECISIONS = some.sampled_from(["none", "in", "out", "stopped"])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=some.data(), one=DECISIONS, two=DECISIONS, shared=some.booleans())
def test_merge_then_undo(edge, clock, redis, data, one, two, shared):
    """Also of two records with the same address, and twice."""
    with db.session.begin_nested() as every_example:
        support_factories.shipped()
        kept, gone = (
            intake.open_contact_request(request=ContactRequest(person=who, source="form"))
            for who in (OTHER, replace(OTHER, first_name="Ana", email="ana@example.com"))
        )
        for found, decision in ((kept, one), (gone, two)):
            contact = contacts.get(found.contact_id)
            decide(contact, decision)
            for earlier in data.draw(some.lists(any_act(rules.CONTACT_REQUEST), max_size=2)):
                do(service.get(found.lead_id), earlier)
        if shared:
            contact.email, contact.email_index = OTHER.email, contacts.get(kept.contact_id).email_index
        for _ in range(2):
            before = snapshot()
            made = duplicates.merge_contacts(kept_id=kept.contact_id, gone_id=gone.contact_id)
            clock.shift(60)
            duplicates.undo_merge(made.id)
            assert same(before)
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
    with pytest.raises(Conflict, match="too much time"):
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


def test_queued_email_comes_back(lead, redis, clock):  # noqa: F811
    support_factories.shipped()
    support_factories.opted_in(lead.contact)
    planner.plan_due()
    queued = select(Message.id, Message.state).where(Message.enrolment_id.is_not(None))
    before = db.session.execute(queued).all()
    assert [one.state for one in before] == [None]
    act_id = move(lead, "spam")
    assert [one.state for one in db.session.execute(queued)] == ["skipped"]
    service.undo_act(act_id, lead_id=lead.id)
    assert db.session.execute(queued).all() == before


def test_restored_from_spam_to_the_former_stage(lead):  # noqa: F811
    service.move_stage(lead_id=lead.id, version=lead.version, to="confirmed")
    service.move_stage(lead_id=lead.id, version=lead.version, to="spam")
    service.restore_from_spam(lead_id=lead.id, version=lead.version)
    assert (lead.stage, lead.closed_at) == ("confirmed", None)
    with pytest.raises(Conflict):
        service.restore_from_spam(lead_id=lead.id, version=lead.version)


def test_consent_given_while_in_spam_is_known_when_restored(lead, redis):  # noqa: F811
    support_factories.shipped()
    service.move_stage(lead_id=lead.id, version=lead.version, to="unconfirmed")
    service.move_stage(lead_id=lead.id, version=lead.version, to="spam")
    support_factories.opted_in(lead.contact)
    service.restore_from_spam(lead_id=lead.id, version=lead.version)
    assert lead.stage == "confirmed"


def test_final_stages_are_reopened_with_a_reason(referral):  # noqa: F811
    service.move_stage(lead_id=referral.id, version=referral.version, to="in_review")
    with pytest.raises(Conflict):
        service.reopen(lead_id=referral.id, version=referral.version, reason="Wrong lead")
    service.move_stage(lead_id=referral.id, version=referral.version, to="duplicate")
    with pytest.raises(Invalid):
        service.reopen(lead_id=referral.id, version=referral.version, reason=" ")
    service.reopen(lead_id=referral.id, version=referral.version, reason="Two patients of one name")
    assert (referral.stage, referral.closed_at) == ("in_review", None)
    assert referral.due_at is not None


def test_nothing_noted_outside_an_act(lead):  # noqa: F811
    service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
    assert db.session.scalar(text("select count(*) from act_change")) == 0


def test_refused_act_notes_nothing(lead):  # noqa: F811
    with pytest.raises(Conflict):
        move(lead, "patient")
    service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
    assert db.session.scalar(text("select count(*) from act_change")) == 0
