"""Branches, answers and named ends in the database: what people get, and what a slice costs."""

import html
import re
from datetime import timedelta

from sqlalchemy import select, text

from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.leads.models import Task
from crm.messages import answers
from crm.messages.engine import pipeline
from crm.messages.models import Message, MessageAnswer
from crm.messages.rules import Answer
from crm.sequences import drafts, planner, service
from crm.sequences.models import EmailSequence, Enrolment, Passage, SequenceVersion
from crm.sequences.plan_graph import Share
from jobs.sequences import enter
from tests.support import factories
from tests.support.browser_client import signed_in
from tests.support.states import bring

DAY, AT_ONCE = {"amount": 1, "unit": "days"}, {"amount": 0, "unit": "days"}
WINDOW = {"start": "00:00", "end": "23:59", "weekdays": list(range(7))}
VIP = {"segment_rule": None, "rule": {"field": "tag", "values": ["vip"]}}


def email(number: int, wait=None) -> dict:
    return {"number": number, "item": f"contact-request/{SLUGS[number]}", "wait": wait or DAY}


SLUGS = ["01-welcome", "02-understanding", "03-common-question", "04-research", "05-safety", "06-talk"]


def branch(number: int, ask: dict, *, yes=(), no=(), wait=None) -> dict:
    return {
        "number": number, "kind": "branch", "ask": ask, "wait": wait or AT_ONCE, "yes": list(yes), "no": list(no),
    }  # fmt: skip


def split(number: int, *, percent: int = 50, yes=(), no=()) -> dict:
    return {
        "number": number, "kind": "split", "wait": AT_ONCE, "percent": percent, "draw": f"1:{number}",
        "yes": list(yes), "no": list(no),
    }  # fmt: skip


def publish(*nodes: dict, starts: dict | None = None) -> int:
    """A new version of the sequence with these nodes; return its id."""
    sequence_id = db.session.scalars(
        select(EmailSequence.id).where(EmailSequence.key == "contact-request")
    ).one()
    number = db.session.scalar(
        text("select 1 + max(number) from sequence_version where sequence_id = :id"), {"id": sequence_id}
    )
    stored = {"format": 2, "window": WINDOW, "nodes": list(nodes), **({"starts": starts} if starts else {})}
    made = SequenceVersion(sequence_id=sequence_id, number=number, plan=stored, created_at=clocks.now())
    db.session.add(made)
    db.session.flush()
    return made.id


def person(address: str, *, tag: str | None = None) -> int:
    who = factories.contact(address)
    if tag:
        db.session.execute(
            text("insert into contact_tag (contact_id, tag, added_at) values (:who, :tag, :now)"),
            {"who": who.id, "tag": tag, "now": clocks.now()},
        )
    factories.opted_in(who)
    bring("batch", "accepted", where="kind = 'transactional' and state = 'ready'")
    return who.id


def run(app, clock, *, days: int) -> None:
    for _ in range(days):
        with transaction():
            planner.plan_due()
        pipeline.run(settings=app.settings)
        clock.shift(timedelta(days=1))


def got() -> dict[int, list[int]]:
    """Return contact -> the numbers of the emails that were queued for them."""
    rows = db.session.execute(
        select(Message.contact_id, Message.step).where(Message.step.is_not(None)).order_by(Message.id)
    )
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row.contact_id, []).append(row.step)
    return found


def ends() -> dict[int, tuple]:
    db.session.expire_all()
    rows = db.session.scalars(select(Enrolment))
    return {row.contact_id: (row.state, row.reason, row.end_name) for row in rows}


def answer(contact_id: int, number: int, said: Answer) -> bool:
    with transaction():
        message_id = db.session.scalars(
            select(Message.id).where(Message.contact_id == contact_id, Message.step == number)
        ).one()
        return answers.record(message_id=message_id, contact_id=contact_id, answer=said)


def test_a_segment_and_an_answer_decide_and_ends_have_names(outbox, app, clock):
    with transaction():
        publish(
            email(0, AT_ONCE),
            branch(10, VIP, yes=[email(1, AT_ONCE), {"number": 11, "kind": "goal", "name": "Knows us"}]),
            branch(
                12,
                {"answer": "not_now", "email": 0},
                wait=DAY,
                yes=[email(2, AT_ONCE), {"number": 13, "kind": "exit", "name": "Not now"}],
            ),
            email(3),
        )
        vip, later, reader = person("vip@x.example", tag="vip"), person("b@x.example"), person("c@x.example")
    run(app, clock, days=1)
    assert answer(later, 0, Answer.NOT_NOW)
    run(app, clock, days=4)
    assert got() == {vip: [0, 1], later: [0, 2], reader: [0, 3]}
    assert ends() == {
        vip: ("completed", None, "Knows us"),
        later: ("exited", "by_plan", "Not now"),
        reader: ("completed", None, None),
    }
    passed = select(Enrolment.contact_id, Passage.node, Passage.yes).join(
        Enrolment, Enrolment.id == Passage.enrolment_id
    )
    assert set(map(tuple, db.session.execute(passed))) == {
        (vip, 10, True), (later, 10, False), (later, 12, True), (reader, 10, False), (reader, 12, False),
    }  # fmt: skip
    # the email before an exit is sent, although they exited; nothing else is
    assert sum(len(people) for _, people in outbox.sent) == 6
    with transaction():
        sequence = service.enrol(contact_id=later, topic="prospect_edu", record_id=1)
    assert sequence is None  # nobody gets a series twice


def test_who_asks_for_a_call_gets_a_task_and_no_more_emails(outbox, app, clock):
    with transaction():
        who = person("a@x.example")
        lead = lead_of(who)
    run(app, clock, days=1)
    with transaction():  # the second email is queued when they answer
        db.session.execute(
            text("update enrolment set due_at = :now where state = 'active'"), {"now": clocks.now()}
        )
        planner.plan_due()
    assert answer(who, 0, Answer.CALL)
    assert not answer(who, 0, Answer.CALL)
    run(app, clock, days=30)
    assert ends() == {who: ("exited", "answered", None)}
    assert sum(len(people) for _, people in outbox.sent) == 1
    assert [
        (task.lead_id, task.title) for task in db.session.scalars(select(Task)) if "asked" in task.title
    ] == [(lead, "Call the person: they asked for a call in an email")]
    assert db.session.scalars(select(MessageAnswer.answer)).all() == ["call"]


def lead_of(contact_id: int) -> int:
    return db.session.execute(
        text("""
            insert into lead (contact_id, reference, kind, stage, source, created_at, stage_at)
            values (:who, 'C-1', 'contact_request', 'contacted', 'form', :now, :now) returning id
        """),
        {"who": contact_id, "now": clocks.now()},
    ).scalar_one()


def test_an_answer_of_an_earlier_run_counts(outbox, app, clock):
    """Who opted out and came back is asked once: the answer is the person's, not the enrolment's."""
    with transaction():
        publish(email(0, AT_ONCE), branch(10, {"answer": "guide"}, yes=[email(1)], no=[email(2)], wait=DAY))
        who = person("a@x.example")
    run(app, clock, days=1)
    answer(who, 0, Answer.GUIDE)
    with transaction():
        db.session.execute(text("update enrolment set state = 'exited', reason = 'opted_out', due_at = null"))
        service.enrol(contact_id=who, topic="prospect_edu", record_id=1)
    run(app, clock, days=4)
    assert got() == {who: [0, 1]}


def test_people_whose_plan_an_older_worker_could_not_read_go_on(outbox, app, clock):
    with transaction():
        person("a@x.example")
        db.session.execute(
            text("update enrolment set state = 'held', reason = 'plan_unreadable', due_at = null")
        )
    with transaction():
        service.release_held()
    run(app, clock, days=1)
    assert len(got()) == 1


def test_statements_do_not_grow_with_people(outbox, statements):
    totals = []
    for people in (3, 30):
        with transaction():
            ways = [branch(10, VIP, yes=[email(1)], no=[email(2)]), split(11, yes=[email(3)]), email(4)]
            ways.insert(0, branch(12, {"delivered": 9}, wait=DAY) | {"kind": "wait_for"})
            publish(*ways)
            for number in range(people):
                person(f"p{people}-{number}@x.example", tag="vip" if number % 2 else None)
            db.session.execute(
                text("update enrolment set due_at = :now where state = 'active'"), {"now": clocks.now()}
            )
        with statements() as counted, transaction():
            assert planner.plan_due() == people
        totals.append(counted.total)
        with transaction():
            db.session.execute(text("update enrolment set state = 'completed', due_at = null"))
    assert totals[0] == totals[1]


def test_a_plan_without_branches_asks_nothing_more(outbox, statements):
    with transaction():
        person("a@x.example")
        db.session.execute(
            text("update enrolment set due_at = :now where state = 'active'"), {"now": clocks.now()}
        )
    with statements() as counted, transaction():
        planner.plan_due()
    assert not [one for one in counted.texts if "passage" in one or "message_answer" in one]


def test_only_people_of_the_segment_start_and_each_once(outbox, app, clock, monkeypatch):
    monkeypatch.setattr(service, "ENTER_SLICE", 1)
    with transaction():
        publish(email(0, AT_ONCE), starts=VIP)
        vip, later, _ = (
            person(f"{tag or 'no'}{n}@x.example", tag=tag) for n, tag in enumerate(["vip", None, None])
        )
        unasked = factories.contact("unasked@x.example").id
        for who in (later, unasked):
            tagged = "insert into contact_tag (contact_id, tag, added_at) values (:who, 'vip', :now)"
            db.session.execute(text(tagged), {"who": who, "now": clocks.now()})
    assert set(ends()) == {vip}  # at the moment they opted in
    enter()
    assert set(ends()) == {vip, later}
    run(app, clock, days=2)
    enter()
    assert got() == {vip: [0], later: [0]}
    assert len(db.session.scalars(select(Enrolment)).all()) == 2


def test_a_split_sends_each_person_one_way_for_good(outbox, app, clock):
    with transaction():
        publish(split(10, yes=[email(0, AT_ONCE)], no=[email(1, AT_ONCE)]), email(2))
        people = [person(f"p{number}@x.example") for number in range(12)]
    way = {who: 0 if Share(50, "1:10").holds(who) else 1 for who in people}
    assert set(way.values()) == {0, 1}
    run(app, clock, days=1)
    assert got() == {who: [email] for who, email in way.items()}
    with transaction():  # they opt out and in again
        db.session.execute(
            text("update enrolment set state = 'exited', reason = 'opted_out', due_at = null, step = 10")
        )
        for who in people:
            service.enrol(contact_id=who, topic="prospect_edu", record_id=1)
    run(app, clock, days=2)
    arms = db.session.execute(select(Enrolment.contact_id, Passage.yes).join(Passage)).all()
    assert {(who, yes) for who, yes in arms} == {(who, email == 0) for who, email in way.items()}


def test_a_shipped_branch_is_loaded_once_and_edited_by_the_clinic(outbox):
    with transaction():
        assert service.load_shipped(live=True) == 0
        shipped = db.session.scalars(
            select(SequenceVersion).join(EmailSequence).where(EmailSequence.key == "contact-request")
        ).one()
        assert shipped.plan["shipped"]
        draft = drafts.begin(shipped.sequence_id)
    assert "shipped" not in draft.plan
    assert draft.plan["nodes"] == shipped.plan["nodes"]


def test_the_page_of_a_sequence_counts_ways_and_ends(outbox, app, clock, client):
    with transaction():
        publish(
            branch(10, VIP, yes=[{"number": 11, "kind": "goal", "name": "Knows us"}], no=[email(0, AT_ONCE)]),
            branch(12, {"answer": "guide"}, wait=DAY, yes=[email(1)]),
        )
        person("vip@x.example", tag="vip"), person("b@x.example")
    run(app, clock, days=1)
    visitor = signed_in(client.application, "marketer")
    sequence_id = db.session.scalars(
        select(EmailSequence.id).where(EmailSequence.key == "contact-request")
    ).one()
    shown = page_text(visitor.get(f"/console/sequences/{sequence_id}"))
    assert "1. Are they in the segment “a segment”? Branch 0 yes: 1, no: 1" in shown
    assert "1 yes · 1. Knows us Goal 0 ended here: 1" in shown
    assert "2. Did they answer “Send me the guide”? Branch 1 yes: 0, no: 0" in shown
    assert "Knows us" in page_text(visitor.get(f"/console/sequences/{sequence_id}?state=completed"))


def page_text(answer) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())
