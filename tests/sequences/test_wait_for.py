"""Waits for a fact in the database: it ends the wait, another one does not, and time runs out."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.core.events import publish as happen
from crm.leads.events import ConsultationChanged, StageMoved
from crm.messages.events import EmailsDelivered
from crm.messages.models import Message
from crm.messages.rules import Answer
from crm.sequences import planner, service
from crm.sequences.models import EmailSequence, Enrolment
from tests.sequences.test_branching import AT_ONCE, answer, email, got, lead_of, person, publish, run

WEEK = {"amount": 7, "unit": "days"}


def wait_for(number: int, ask: dict, *, yes=(), no=()) -> dict:
    return {
        "number": number, "kind": "wait_for", "ask": ask, "wait": WEEK, "yes": list(yes), "no": list(no),
    }  # fmt: skip


NOT_NOW = {"answer": "not_now", "email": 0}
WAYS = {"yes": [email(1, AT_ONCE)], "no": [email(2, AT_ONCE)]}


def enrolment() -> Enrolment:
    db.session.expire_all()
    return db.session.scalars(select(Enrolment)).one()


def plan() -> None:
    with transaction():
        planner.plan_due()


def test_a_fact_ends_the_wait_and_without_it_time_runs_out(outbox, app, clock):
    with transaction():
        publish(email(0, AT_ONCE), wait_for(10, NOT_NOW, **WAYS))
        says, other, silent = (person(f"{name}@x.example") for name in "abc")
    run(app, clock, days=2)
    answer(says, 0, Answer.NOT_NOW)
    answer(other, 0, Answer.GUIDE)
    run(app, clock, days=1)
    assert got() == {says: [0, 1], other: [0], silent: [0]}
    run(app, clock, days=4)
    assert got() == {says: [0, 1], other: [0], silent: [0]}  # another answer does not shorten the wait
    run(app, clock, days=2)
    assert got() == {says: [0, 1], other: [0, 2], silent: [0, 2]}


def test_what_has_happened_already_is_not_waited_for(outbox, app, clock):
    with transaction():
        publish(email(0, AT_ONCE), email(3), wait_for(10, NOT_NOW, **WAYS))
        who = person("a@x.example")
    run(app, clock, days=1)
    answer(who, 0, Answer.NOT_NOW)
    run(app, clock, days=1)
    plan()
    assert got() == {who: [0, 3, 1]}


def book(who: int) -> None:
    lead = lead_of(who)
    db.session.execute(
        text("""
            insert into consultation (lead_id, starts_at, minutes, created_at, state_at, actor)
            values (:lead, :now, 60, :now, :now, 'test')
        """),
        {"lead": lead, "now": clocks.now()},
    )
    changed = {"lead_id": lead, "contact_id": who, "what": "missed", "starts_at": clocks.now()}
    happen(ConsultationChanged(**changed, has_email=False, language="en"))


def qualify(who: int) -> None:
    lead = lead_of(who)
    db.session.execute(text("update lead set stage = 'qualified'"))
    happen(StageMoved(lead_id=lead, contact_id=who, kind="contact_request", was="contacted", now="qualified"))


def deliver(_who: int) -> None:
    db.session.execute(text("update message set state = 'delivered' where step = 0"))
    ids = db.session.scalars(select(Message.id).where(Message.step == 0)).all()
    happen(EmailsDelivered(message_ids=tuple(ids)))


@pytest.mark.parametrize(
    ("ask", "act"),
    [
        ({"rule": {"field": "booked"}}, book),
        ({"rule": {"field": "stage", "values": ["qualified"]}}, qualify),
        ({"delivered": 0}, deliver),
    ],
)
def test_each_kind_of_fact_wakes(outbox, app, clock, ask, act):
    with transaction():
        publish(email(0, AT_ONCE), wait_for(10, ask, **WAYS))
        who = person("a@x.example")
    run(app, clock, days=2)
    waits = enrolment()
    assert (waits.step, waits.reason) == (10, "waits_for")
    with transaction():
        act(who)
    plan()
    assert got() == {who: [0, 1]}


def test_a_fact_during_a_pause_counts_when_it_ends(outbox, app, clock):
    with transaction():
        publish(email(0, AT_ONCE), wait_for(10, NOT_NOW, **WAYS))
        who = person("a@x.example")
    run(app, clock, days=2)
    sequence_id = db.session.scalars(
        select(EmailSequence.id).where(EmailSequence.key == "contact-request")
    ).one()
    with transaction():
        service.pause(sequence_id)
    answer(who, 0, Answer.NOT_NOW)
    clock.shift(timedelta(days=1))
    with transaction():
        service.resume(sequence_id)
    plan()
    assert got() == {who: [0, 1]}


def test_send_next_now_ends_the_wait(outbox, app, clock):
    with transaction():
        publish(email(0, AT_ONCE), wait_for(10, NOT_NOW, **WAYS))
        who = person("a@x.example")
    run(app, clock, days=2)
    with transaction():
        service.send_next_now(enrolment().id)
    clock.shift(timedelta(seconds=1))
    plan()
    assert got() == {who: [0, 2]}


def test_a_fact_that_nobody_waits_for_is_one_statement(outbox, statements):
    with transaction():
        who = person("a@x.example")
        with statements() as counted:
            happen(EmailsDelivered(message_ids=(1, 2, 3)))
    assert counted.total == 1
    assert enrolment().contact_id == who
