"""Timeline and contact search."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import literal, null, select
from sqlalchemy.dialects.postgresql import JSONB

from crm.contacts import queries, service
from crm.contacts.models import Contact, ContactSearch, Tag
from crm.contacts.rules import Person
from crm.core import clock as time
from crm.core import current
from crm.core.db import Encrypted, db
from crm.core.errors import Invalid
from tests.support import factories as support_factories

ANA = Person(
    first_name="Ana", last_name="Ruiz", email="ana.ruiz@example.com", phone="+12135550142", time_zone="UTC"
)


@pytest.fixture
def ana(edge):
    return service.find_or_create(person=ANA).contact


def tags(records):
    """A second table for the timeline."""
    return select(
        Tag.added_at,
        Tag.contact_id,
        literal("tag"),
        literal("staff:1"),
        null().cast(Encrypted),
        null().cast(JSONB),
    ).where(Tag.contact_id.in_(records))


def test_timeline_pages_newest_first(ana, clock, statements, monkeypatch):
    for number in range(5):
        service.record_activity(contact_id=ana.id, kind=f"k{number}", text=f"note {number}")
        clock.shift(timedelta(minutes=1))
    service.add_tag(
        contact_id=ana.id, tag="vip"
    )  # a line of its own, and the row of the second table, at one moment
    sources = {"activity": queries.activity_source, "tag": tags}
    monkeypatch.setattr(current.services(), "timeline_sources", sources)
    db.session.flush()
    seen, cursor = [], None
    with statements() as counted:
        while True:
            page = queries.timeline(contact_id=ana.id, cursor=cursor, limit=3)
            seen += page.rows
            cursor = page.next
            if cursor is None:
                break
    assert [(line.source, line.kind) for line in seen] == [
        ("tag", "tag"), ("activity", "tagged"), *[("activity", f"k{number}") for number in (4, 3, 2, 1, 0)],
    ]  # fmt: skip
    assert [line.text for line in seen[2:4]] == ["note 4", "note 3"]
    assert counted.total == 2 * 3  # of three pages


def test_timeline_is_of_one_person(ana):
    other = service.find_or_create(
        person=replace(ANA, email="b@example.com", phone=None, first_name="Bo")
    ).contact
    service.record_activity(contact_id=other.id, kind="note")
    assert queries.timeline(contact_id=ana.id).rows == []


def test_foreign_cursor(ana):
    with pytest.raises(Invalid):
        queries.timeline(contact_id=ana.id, cursor="nonsense")


def search(typed, *, limit=20):
    ids = queries.matching_ids(typed, limit=limit)
    if ids is None:
        return []
    found = select(Contact).where(Contact.id.in_(ids)).order_by(Contact.last_name, Contact.id)
    return db.session.scalars(found.limit(limit)).all()


@pytest.mark.parametrize(
    "typed",
    ["ru", "RUIZ", "ana", "ana ruiz", "ruiz ana", "Ruiz, An", "ana.ruiz@example.com", "ana.ruiz@ex", "Ana.Ruiz@Example.com",
     "213 555 0142", "(213) 555-0142", "+12135550142", "555 0142", "555-0142", "0142", "50142",
     "13 555 0142", "213-555-0142 ext 8", "555-0142 x8", "tel 213 555 0142", "555–0142",
     "213 555", "(213) 555-01", "+1 213 555", "1 213 55501", "\u200bana\u00a0ruiz"],
)  # fmt: skip
def test_found(ana, typed):
    assert [who.id for who in search(typed)] == [ana.id]


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "a",
        "uiz",
        "%%",
        "r_iz",
        "ana.x@example.com",
        "213 555 0143",
        "555 0143",
        "143",
        "ana lopez",
        "0142 0142",
        "213 554",
        "213 555 02",
    ],
)
def test_not_found(ana, typed):
    assert search(typed) == []


@pytest.mark.parametrize(
    ("first", "last", "typed"),
    [
        ("José", "García López", "jose garcia"), ("José", "García López", "lopez"), ("José", "García López", "lop jos"),
        ("Jose\u0301", "Nu\u0303n\u0303ez", "nunez"), ("Siobhán", "O’Brien", "o'brien"), ("Siobhán", "O’Brien", "OBRIEN"),
        ("Siobhán", "O’Brien", "o brien"),
        ("Siobhán", "O'Brien", "o’br siobhan"), ("Ana", "Smith-Jones", "jones"), ("Ana", "Smith, Jr.", "smith"),
        ("Søren", "Łuksza", "soren luksza"), ("Jörg", "Strauß", "strauss"), ("Élodie", "", "elodie"),
        ("Ngọc", "Nguyễn", "nguyen ngoc"),
        ("Анна", "Иванова", "ИВАНОВА"),
    ],
)  # fmt: skip
def test_found_by_any_word_folded(database, first, last, typed):
    made = support_factories.contact("x@example.com", first_name=first, last_name=last)
    assert [who.id for who in search(typed)] == [made.id]


def test_words_follow_the_name(ana):
    ana.last_name = "Solís"
    db.session.flush()
    assert search("ruiz") == []
    assert [who.id for who in search("solis")] == [ana.id]
    ana.erased_at = time.now()
    db.session.flush()
    left = select(ContactSearch.key).where(ContactSearch.contact_id == ana.id)
    assert db.session.scalars(left).all() == []


def test_merged_record_is_found_as_the_one_that_is_left(ana):
    gone = support_factories.contact("old@example.com", first_name="Anita", last_name="Vidal")
    gone.merged_into_id = ana.id
    db.session.flush()
    for typed in ("vidal", "old@example.com", "old@ex"):
        assert [who.id for who in search(typed)] == [ana.id]


def test_search_limit_and_merged(ana):
    for number in range(3):
        service.find_or_create(
            person=replace(ANA, email=f"{number}@example.com", phone=None, last_name=f"Ruiz {number}")
        )
    db.session.get(Contact, ana.id).erased_at = time.now()
    db.session.flush()
    assert [who.last_name for who in search("ruiz", limit=2)] == ["Ruiz 0", "Ruiz 1"]


def test_timeline_by_kind(ana):
    for kind in ("note", "called", "stage_moved"):
        service.record_activity(contact_id=ana.id, kind=kind)
    shown = queries.timeline(contact_id=ana.id, only={"activity": ("note", "called")}).rows
    assert {line.kind for line in shown} == {"note", "called"}
    assert queries.timeline(contact_id=ana.id, only={"activity": None}).rows


def test_timeline_includes_merged_records(ana):
    other, third = (
        service.find_or_create(
            person=replace(ANA, email=f"{name}@example.com", phone=None, first_name=name)
        ).contact
        for name in ("Bea", "Cid")
    )
    other.merged_into_id, third.merged_into_id = ana.id, other.id
    service.record_activity(contact_id=third.id, kind="note")
    db.session.flush()
    assert queries.record_ids(ana.id) == sorted([ana.id, other.id, third.id])
    assert [line.kind for line in queries.timeline(contact_id=ana.id).rows] == ["note"]
