"""Merging with values chosen field by field."""

from datetime import date

import pytest

from crm.audit import service as audit
from crm.contacts import editing
from crm.contacts.models import Contact
from crm.core.db import db
from crm.core.errors import Invalid
from crm.duplicates import fields, service
from tests.support import factories


@pytest.fixture
def two(edge):
    kept = factories.contact("ana@patients.example", phone="+12135550142", chart_number=None)
    gone = factories.contact(
        "ana.l@patients.example", first_name="Anna", phone="+12135550143", birth_date="1970-05-17", state="CA"
    )
    return kept, gone


def values(contact):
    found = editing.values_of(db.session.get_one(Contact, contact.id, populate_existing=True))
    return found["first_name"], found["email"], found["phone"], found["birth_date"], found["state"]


KEPT = ("Ana", "ana@patients.example", "+12135550142", None, None)


def test_compare_suggests_what_is_missing(two):
    rows = {row.name: row for row in fields.compare(*two)}
    assert [name for name, row in rows.items() if row.differs] == [
        "first_name", "email", "phone", "state", "birth_date",
    ]  # fmt: skip
    assert [name for name, row in rows.items() if row.suggested] == ["state", "birth_date"]
    assert "guardian_name" not in rows


def test_chosen_values_are_taken_and_no_number_is_lost(two):
    kept, gone = two
    service.merge_contacts(kept_id=kept.id, gone_id=gone.id, taken=["email", "phone", "birth_date"])
    born = date(1970, 5, 17)
    assert values(kept) == ("Ana", "ana.l@patients.example", "+12135550143", born, None)
    assert [one.number for one in editing.phones_of(kept.id)] == ["+12135550142"]
    assert {one.source for one in editing.changes_of(kept.id)} == {"merge"}


def test_undo_brings_the_values_back(two):
    kept, gone = two
    with audit.acting("staff:1"):
        made = service.merge_contacts(kept_id=kept.id, gone_id=gone.id, taken=["email", "first_name"])
        service.undo_merge(made.id)
    assert values(kept) == KEPT
    assert editing.phones_of(kept.id) == []


def test_unknown_fields_are_refused(two):
    kept, gone = two
    with pytest.raises(Invalid):
        service.merge_contacts(kept_id=kept.id, gone_id=gone.id, taken=["id"])
