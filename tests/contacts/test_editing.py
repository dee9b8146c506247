"""Editing a person: history, the lock, undo, what they wrote otherwise."""

from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import func, select

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import editing, queries, service
from crm.contacts.models import Activity, Contact, ContactChange
from crm.contacts.rules import Person
from crm.core.db import db
from crm.core.errors import Conflict, NotFound

ANA = Person(
    first_name="Ana",
    last_name="Ruiz",
    email="ana@example.org",
    phone="+12135550142",
    time_zone="America/Los_Angeles",
)


@pytest.fixture
def ana(edge) -> Contact:
    return service.find_or_create(person=ANA).contact


def edit(contact, phones=None, **values):
    return editing.edit(contact_id=contact.id, version=contact.version, values=values, phones=phones)


def history(contact):
    return [(one.field, one.before, one.after) for one in editing.changes_of(contact.id)][::-1]


def found(typed):
    ids = queries.matching_ids(typed, limit=10)
    return (
        set(db.session.scalars(select(func.unnest(func.array(ids.scalar_subquery())))))
        if ids is not None
        else set()
    )


def test_history_holds_before_and_after(ana):
    assert edit(ana, first_name="Anna", birth_date=date(1970, 5, 17), guardian_name="Eva") == [
        "first_name", "birth_date", "guardian_name",
    ]  # fmt: skip
    assert history(ana) == [
        ("first_name", "Ana", "Anna"),
        ("birth_date", None, "1970-05-17"),
        ("guardian_name", None, "Eva"),
    ]
    assert editing.values_of(ana)["guardian_name"] == "Eva"
    line = db.session.scalars(select(Activity).where(Activity.kind == "edited")).one()
    assert line.detail == {"fields": ["first_name", "birth_date", "guardian_name"]}


def test_equal_values_change_nothing(ana):
    version = ana.version
    assert edit(ana, first_name="Ana", phone="+12135550142") == []
    assert (ana.version, history(ana)) == (version, [])


def test_indexes_follow(ana):
    edit(ana, phone="+12135550143", email="anna@example.org", birth_date=date(1970, 5, 17))
    told = replace(ANA, phone="+12135550143", email=None)
    assert service.find_or_create(person=told).contact.id == ana.id
    assert ana.name_birth_index is not None


def test_lock(ana):
    version = ana.version
    edit(ana, first_name="Anna")
    with pytest.raises(Conflict, match="changed in the meantime"):
        editing.edit(contact_id=ana.id, version=version, values={"first_name": "Ana"})


def test_a_further_number_is_a_change_of_the_record(ana):
    version = ana.version
    assert edit(ana, phones=[("work", "+13105550100")]) == ["more_phones"]
    assert ana.version > version
    assert history(ana) == [("more_phones", None, "work +13105550100")]
    assert edit(ana, phones=[("work", "+13105550100")]) == []


def test_merged_records_are_not_edited(ana):
    other = service.find_or_create(person=replace(ANA, first_name="Bo", email="bo@example.org", phone=None))
    other.contact.merged_into_id = ana.id
    db.session.flush()
    with pytest.raises(Conflict):
        edit(other.contact, first_name="B")
    with pytest.raises(NotFound):
        editing.edit(contact_id=0, version=1, values={})


def test_search_by_everything_that_was_entered(ana):
    edit(ana, [("work", "+13105550199")], preferred_name="Nita", chart_number="MRN-77")
    for typed in ("nit", "ruiz nita", "ana ruiz", "mrn-77", "310 555 0199", "555-0199", "0199", "50199"):
        assert found(typed) == {ana.id}, typed


def test_undo(ana):
    with audit.acting("staff:1"):
        with acts.begin("edit_contact") as act:
            edit(ana, [("work", "+13105550199")], email="new@example.org", first_name="Anna")
        with pytest.raises(NotFound):
            editing.undo(act.id, contact_id=ana.id + 1)
        editing.undo(act.id, contact_id=ana.id)
    ana = db.session.get_one(Contact, ana.id)
    assert (ana.email, ana.first_name, editing.phones_of(ana.id)) == ("ana@example.org", "Ana", [])
    assert service.find_or_create(person=ANA).contact.id == ana.id
    undone = select(ContactChange.field).where(ContactChange.source == "undo").order_by(ContactChange.id)
    assert db.session.scalars(undone).all() == ["first_name", "email"]


def written(contact, **values):
    said = "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in values.items())
    service.record_activity(
        contact_id=contact.id, kind="told_otherwise", text=said, detail={"fields": list(values)}
    )
    db.session.flush()
    return db.session.scalars(select(Activity.id).order_by(Activity.id.desc())).first()


def test_take_over_field_by_field(ana):
    line = written(ana, email="anna@example.org", last_name="Ruiz Soto", phone="+12135550199")
    assert [left for _, left in editing.differences(ana)] == [
        {"email": "anna@example.org", "last_name": "Ruiz Soto", "phone": "+12135550199"}
    ]
    take = {"contact_id": ana.id, "activity_id": line}
    editing.take_over(**take, version=ana.version, field="email")
    editing.keep(**take, field="last_name")
    assert (ana.email, ana.last_name) == ("anna@example.org", "Ruiz")
    assert [left for _, left in editing.differences(ana)] == [{"phone": "+12135550199"}]
    with pytest.raises(NotFound, match="already settled"):
        editing.take_over(**take, version=ana.version, field="last_name")
    assert history(ana) == [("email", "ana@example.org", "anna@example.org")]
