"""The next version of a sequence: drafted by one person, published by another, and what it means for people."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.audit import service as audit
from crm.audit.models import AuditEntry
from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound
from crm.messages.engine import pipeline
from crm.messages.models import Message
from crm.sequences import drafts, planner, queries, service
from crm.sequences.models import EmailSequence, Enrolment, SequenceDraft, SequenceVersion
from crm.sequences.plan_edits import FIRST
from crm.sequences.plan_graph import Wait
from crm.sequences.version_change import People
from jobs.sequences import publish
from tests.support import factories
from tests.support.states import bring

MARA, BEN = "staff:1", "staff:2"
NEW = "news/seventh"
FRESH = 102  # the number of the first node that is added: the shipped branch and its exit have 100 and 101


@contextmanager
def by(actor: str) -> Iterator[None]:
    with audit.acting(actor), transaction():
        yield


@pytest.fixture
def sequence(outbox) -> int:
    with by(MARA):
        found = db.session.scalars(
            select(EmailSequence.id).where(EmailSequence.key == "contact-request")
        ).one()
        factories.extra_email(NEW)
        drafts.begin(found)
    return found


def lock(sequence_id: int) -> int:
    db.session.expire_all()
    return drafts.current(sequence_id).lock


def add(sequence_id: int, *, after: int = 5, item: str = NEW, days: int = 3, actor: str = MARA) -> None:
    with by(actor):
        drafts.add(sequence_id, base=lock(sequence_id), item=item, wait=Wait(days, "days"), after=after)


def edit(verb, sequence_id: int, *, actor: str = MARA, **values) -> None:
    with by(actor):
        verb(sequence_id, base=lock(sequence_id), **values)


def published(sequence_id: int, clock, *, actor: str = BEN) -> None:
    edit(drafts.approve, sequence_id, actor=actor)
    clock.shift(drafts.UNDO_WITHIN)
    publish()
    db.session.expire_all()


def person(email: str) -> int:
    with transaction():
        who = factories.contact(email)
        factories.opted_in(who)
        bring("batch", "accepted", where="kind = 'transactional' and state = 'ready'")
        return who.id


def run(app, clock, *, days: int) -> None:
    for _ in range(days):
        with transaction():
            planner.plan_due()
        pipeline.run(settings=app.settings)
        clock.shift(timedelta(days=1))


def subjects(outbox) -> Counter:
    return Counter(
        (recipient.email, envelope.subject) for envelope, people in outbox.sent for recipient in people
    )


def newest(sequence_id: int) -> SequenceVersion:
    return queries.newest_version(sequence_id)


def test_a_seventh_email_reaches_those_who_start_after_it(sequence, app, clock, outbox):
    early = person("early@patients.example")
    add(sequence)
    published(sequence, clock)
    late = person("late@patients.example")
    run(app, clock, days=40)
    sent = Counter(db.session.scalars(select(Message.contact_id).where(Message.enrolment_id.is_not(None))))
    assert sent == {early: 6, late: 7}
    assert set(db.session.scalars(select(Enrolment.state))) == {"completed"}


def test_people_who_move_get_it_too_and_nothing_twice(sequence, app, clock, outbox):
    who = person("early@patients.example")
    run(app, clock, days=4)  # two emails
    add(sequence, after=0)  # behind them
    add(sequence, item=_second(), after=5)  # ahead of them
    edit(drafts.move, sequence, number=3, by=-1)
    edit(drafts.decide_people, sequence, people=People.MOVE)
    review = drafts.review(drafts.current(sequence))
    [row] = review.rows
    assert (row.group.people, row.outcome.passed, row.outcome.gains) == (1, (NEW,), ("news/eighth",))
    assert review.first_time == {"news/eighth": 1}
    published(sequence, clock)
    assert db.session.scalars(select(SequenceDraft.results)).one() == {"changes": 1}
    run(app, clock, days=40)
    assert sorted(db.session.scalars(select(Message.step).where(Message.contact_id == who, Message.step >= 0))) == [
        0, 1, 2, 3, 4, 5, FRESH + 1,
    ]  # fmt: skip


def _second() -> str:
    with transaction():
        return factories.extra_email("news/eighth", subject="An eighth email")


@pytest.mark.parametrize("state", ["active", "paused", "held"])
def test_who_moves_waits_anew_in_their_state(sequence, clock, app, state):
    who = person("early@patients.example")
    run(app, clock, days=1)  # the first email, a day ago
    if state == "paused":
        with transaction():
            service.pause(sequence)
    elif state == "held":
        hold = "update enrolment set state = 'held', due_at = null, reason = 'content_not_approved'"
        with transaction():
            db.session.execute(text(hold))
    add(sequence, after=0, days=3)
    edit(drafts.decide_people, sequence, people=People.MOVE)
    before = clocks.now() - timedelta(days=1)
    published(sequence, clock)
    moved = db.session.scalars(select(Enrolment).where(Enrolment.contact_id == who)).one()
    assert (moved.version_id, moved.step, moved.reason) == (newest(sequence).id, FRESH, None)
    if state == "paused":
        assert moved.state == "paused"
        assert moved.paused_left == timedelta(days=2).total_seconds()
    else:
        assert (moved.state, moved.due_at) == ("active", before + timedelta(days=3))


def test_who_has_nothing_left_finishes(sequence, clock, app):
    person("early@patients.example")
    run(app, clock, days=1)
    for number in (1, 2, 3, 4, 5, 100):
        edit(drafts.remove, sequence, number=number)
    edit(drafts.decide_people, sequence, people=People.MOVE)
    published(sequence, clock)
    [ended] = db.session.scalars(select(Enrolment))
    assert (ended.state, ended.left_at) == ("completed", clocks.now())


def test_an_email_that_comes_again_is_not_sent_twice(sequence, clock, app):
    had = person("had@patients.example")
    run(app, clock, days=1)
    first = _item(0)
    edit(drafts.remove, sequence, number=0)
    edit(drafts.decide_people, sequence, people=People.MOVE)
    published(sequence, clock)  # they move to a version without the email that they had
    with by(MARA):
        drafts.begin(sequence)
    add(sequence, item=first, after=5)
    edit(drafts.decide_people, sequence, people=People.MOVE)
    assert drafts.current(sequence).plan["nodes"][-1]["number"] == 0  # its number again
    [row] = drafts.review(drafts.current(sequence)).rows
    assert row.outcome.fate == "stays_had"
    published(sequence, clock)
    run(app, clock, days=40)
    steps = db.session.scalars(select(Message.step).where(Message.contact_id == had, Message.step >= 0)).all()
    assert sorted(steps) == [0, 1, 2, 3, 4, 5]


def _item(number: int) -> str:
    plan = db.session.scalars(select(SequenceDraft.plan).where(SequenceDraft.state == "open")).one()
    return next(node["item"] for node in plan["nodes"] if node["number"] == number)


def test_people_move_in_slices_and_each_once(sequence, clock, app, monkeypatch):
    monkeypatch.setattr(drafts, "SLICE", 2)
    for number in range(5):
        person(f"ana{number}@patients.example")
    add(sequence)
    edit(drafts.decide_people, sequence, people=People.MOVE)
    published(sequence, clock)
    draft = db.session.scalars(select(SequenceDraft)).one()
    assert (draft.state, draft.results) == ("published", {"moves": 5})
    assert set(db.session.scalars(select(Enrolment.version_id))) == {newest(sequence).id}


def test_moving_costs_no_statement_per_person(sequence, clock, statements):
    def counted(people: int) -> int:
        for number in range(people):
            person(f"{people}-{number}@patients.example")
        with by(MARA):
            drafts.begin(sequence)
        for _ in range(2):  # there and back
            edit(drafts.move, sequence, number=5, by=-1)
        edit(drafts.decide_people, sequence, people=People.MOVE)
        edit(drafts.approve, sequence, actor=BEN)
        clock.shift(drafts.UNDO_WITHIN)
        with statements() as counted_:
            publish()
        return counted_.total

    assert counted(1) == counted(6)


def test_publishing_can_be_undone_until_it_takes_effect(sequence, clock):
    add(sequence)
    edit(drafts.approve, sequence, actor=BEN)
    publish()
    assert newest(sequence).number == 1
    with pytest.raises(Conflict, match="approved"):
        edit(drafts.remove, sequence, number=0)
    edit(drafts.undo_approval, sequence)
    clock.shift(drafts.UNDO_WITHIN)
    publish()
    assert newest(sequence).number == 1
    published(sequence, clock)
    assert newest(sequence).number == 2
    assert {"sequence.draft_begun", "sequence.draft_edited", "sequence.draft_approved", "sequence.published"} <= set(
        db.session.scalars(select(AuditEntry.action))
    )  # fmt: skip


def test_the_last_editor_does_not_publish(sequence):
    add(sequence)
    with pytest.raises(NotAllowed, match="Another person"):
        edit(drafts.approve, sequence, actor=MARA)


def test_of_two_editors_the_second_is_refused(sequence):
    seen = lock(sequence)
    add(sequence)
    with pytest.raises(Conflict, match="Another person"), by(BEN):
        drafts.remove(sequence, base=seen, number=1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: None, "same as the published"),
        (lambda s: [edit(drafts.remove, s, number=n) for n in range(6)], "at least one email"),
        (lambda s: add(s) or _unapprove(NEW), "No approved version"),
        (lambda s: add(s) or _newer(s), "newer version"),
    ],
)
def test_what_keeps_a_draft_from_being_published(sequence, change, problem):
    change(sequence)
    with pytest.raises(Conflict, match=problem):
        edit(drafts.approve, sequence, actor=BEN)


def _unapprove(key: str) -> None:
    with transaction():
        db.session.execute(
            text("""
                update content_version v set expires_at = v.created_at from content_item i
                where i.id = v.item_id and i.key = :key
            """),
            {"key": key},
        )


def _newer(sequence_id: int) -> None:
    with transaction():
        old = newest(sequence_id)
        db.session.add(
            SequenceVersion(
                sequence_id=sequence_id, number=old.number + 1, plan=old.plan, created_at=clocks.now()
            )
        )


def test_a_draft_that_lost_its_ground_opens_again(sequence, clock):
    add(sequence)
    edit(drafts.approve, sequence, actor=BEN)
    _unapprove(NEW)
    clock.shift(drafts.UNDO_WITHIN)
    publish()
    assert (drafts.current(sequence).state, newest(sequence).number) == ("open", 1)
    assert (
        "was not published"
        in db.session.scalars(text("select text from alert where key like 'sequence-draft:%'")).one()
    )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: add(s, item="referred-patient/01-received"), Invalid),  # mail of another kind
        (lambda s: add(s, item="nothing"), Invalid),
        (lambda s: edit(drafts.undo_edit, s), Conflict),
        (lambda s: edit(drafts.discard, s) or edit(drafts.discard, s), AttributeError),
        (lambda s: drafts.begin(999_999), NotFound),
    ],
)
def test_refusals(sequence, call, error):
    with pytest.raises(error):
        call(sequence)


def test_the_last_edit_is_undone(sequence):
    before = drafts.current(sequence).plan
    edit(drafts.remove, sequence, number=2)
    edit(drafts.undo_edit, sequence)
    assert drafts.current(sequence).plan == before


def test_a_new_release_keeps_what_staff_published(sequence, clock):
    add(sequence, after=FIRST)
    published(sequence, clock)
    with transaction():
        assert service.load_shipped(live=True) == 0
    assert newest(sequence).plan["format"] == 2
