"""People and booked consultations of each way of a split, on the database and on the page of the sequence."""

from datetime import timedelta

from sqlalchemy import select, text

from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.sequences.models import EmailSequence
from crm.sequences.splits import queries
from crm.sequences.splits.rules import Way, compare
from tests.messages.conftest import outbox
from tests.sequences.test_branching import email, page_text, person, publish, run, split
from tests.support.browser_client import signed_in

__all__ = ["outbox"]

_BOOK = text("""
    insert into consultation (lead_id, starts_at, minutes, created_at, state_at, actor, first_id)
    select id, :at, 60, :at, :at, 'test', :first from lead where contact_id = :who returning id
""")


def book(contact_id: int, *, at, first: int | None = None) -> int:
    given = {"who": contact_id, "at": at, "first": first}
    return db.session.execute(_BOOK, given).scalar_one()


def test_who_booked_after_they_came_to_the_split_counts_for_their_way(outbox, app, clock, client):
    with transaction():
        publish(split(10, percent=60, yes=[email(0)]), email(1))
        people = [person(f"p{number}@x.example") for number in range(8)]
        for who in people:
            db.session.execute(_LEAD, {"who": who, "now": clocks.now(), "reference": f"C-{who}"})
        book(people[0], at=clocks.now() - timedelta(days=1))  # before they came to it
    run(app, clock, days=1)
    with transaction():
        for who in people[1:4]:
            first = book(who, at=clocks.now())
            db.session.execute(
                text("update consultation set state = 'rescheduled' where id = :id"), {"id": first}
            )
            book(who, at=clocks.now(), first=first)  # moved: counts once
    sequence_id = db.session.scalars(
        select(EmailSequence.id).where(EmailSequence.key == "contact-request")
    ).one()
    ways = {True: [0, 0], False: [0, 0]}
    rows = db.session.execute(
        text("select e.contact_id, p.yes from passage p join enrolment e on e.id = enrolment_id")
    )
    for row in rows:
        ways[row.yes][0] += 1
        ways[row.yes][1] += row.contact_id in people[1:4]
    found = queries.comparisons(sequence_id, [10, 11])
    assert (found[10].a, found[10].b) == (Way(*ways[True]), Way(*ways[False]))
    assert found[10].a.booked + found[10].b.booked == 3
    assert found[11].a == Way()
    shown = page_text(signed_in(client.application, "marketer").get(f"/console/sequences/{sequence_id}"))
    a, b = ways[True], ways[False]
    assert f"way A: {a[0]}, way B: {b[0]}" in shown
    assert f"{a[1]} of {a[0]} people {b[1]} of {b[0]} people Not enough data" in shown
    clock.shift(queries.RESULTS_OF)
    assert queries.comparisons(sequence_id, [10])[10].a == Way()


_LEAD = text("""
    insert into lead (contact_id, reference, kind, stage, source, created_at, stage_at)
    values (:who, :reference, 'contact_request', 'contacted', 'form', :now, :now)
""")


def test_the_page_names_a_difference(outbox, client, monkeypatch):
    with transaction():
        publish(split(10, yes=[email(0)]), email(1))
    said = {
        (Way(5_000, 200), Way(5_000, 120)): "Way A books more: +0.7 to +2.5 percentage points",
        (Way(5_000, 120), Way(5_000, 200)): "Way A books less: -2.5 to -0.7 percentage points",
        (Way(5_000, 120), Way(5_000, 120)): "No difference shown: -0.8 to +0.8 percentage points",
    }
    sequence_id = db.session.scalars(
        select(EmailSequence.id).where(EmailSequence.key == "contact-request")
    ).one()
    visitor = signed_in(client.application, "marketer")
    for ways, sentence in said.items():
        monkeypatch.setattr(queries, "comparisons", lambda *_, ways=ways: {10: compare(*ways)})
        assert sentence in page_text(visitor.get(f"/console/sequences/{sequence_id}"))
