"""Finding and creating contacts; tags; the clinical stop."""

from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import func, select, text

from crm.audit.models import AuditEntry
from crm.contacts import service
from crm.contacts.models import Activity, Contact, Tag
from crm.contacts.rules import Person
from crm.core.db import db
from crm.core.errors import Invalid, NotFound

ANA = Person(
    first_name="Ana",
    last_name="Ruiz",
    email="ana.ruiz@example.com",
    phone="+12135550142",
    time_zone="America/Los_Angeles",
)


def people():
    return db.session.scalar(select(func.count()).select_from(Contact))


def lines(kind):
    return db.session.scalars(select(Activity).where(Activity.kind == kind)).all()


def test_create_then_find(edge):
    made = service.find_or_create(person=ANA)
    again = service.find_or_create(person=ANA)
    assert (made.is_new, again.is_new, again.contact.id) == (True, False, made.contact.id)
    assert people() == 1


@pytest.mark.parametrize(
    "told",
    [
        replace(ANA, email="ana.ruiz+clinic@example.com", phone=None),  # one mailbox
        replace(ANA, first_name="ANA", last_name="Ruíz"),
        replace(ANA, email=None),  # phone and name
    ],
)
def test_find_by_other_spelling(edge, told):
    made = service.find_or_create(person=ANA)
    assert service.find_or_create(person=told).contact.id == made.contact.id


def test_fills_gaps_never_overwrites(edge):
    service.find_or_create(person=replace(ANA, phone=None))
    found = service.find_or_create(person=replace(ANA, last_name="Ruiz Soto", state="CA"))
    assert (found.contact.phone, found.contact.state) == ("+12135550142", "CA")
    assert (found.contact.first_name, list(found.differing)) == ("Ana", ["last_name"])
    by_phone = service.find_or_create(person=replace(ANA, email=None))
    assert by_phone.contact.id == found.contact.id


def test_child_with_parents_address(edge):
    parent = service.find_or_create(person=ANA)
    child = service.find_or_create(person=replace(ANA, first_name="Juan", birth_date=date(2015, 4, 5)))
    assert child.is_new
    assert child.contact.email_index == parent.contact.email_index
    again = service.find_or_create(person=replace(ANA, first_name="Juan", birth_date=date(2015, 4, 5)))
    assert again.contact.id == child.contact.id


def test_look_alike(edge):
    first = service.find_or_create(person=replace(ANA, birth_date=date(1960, 1, 1)))
    other = service.find_or_create(person=replace(ANA, birth_date=date(1990, 1, 1)))
    assert other.is_new
    (note,) = lines("possible_duplicate")
    assert (note.contact_id, note.detail) == (other.contact.id, {"contact_id": first.contact.id})


def test_find_by_name_and_birth_date(edge):
    born = replace(ANA, birth_date=date(1960, 1, 1))
    made = service.find_or_create(person=born)
    found = service.find_or_create(person=replace(born, email="new@example.com", phone="+12135550199"))
    assert (found.contact.id, found.is_new) == (made.contact.id, False)
    assert set(found.differing) == {"email", "phone"}
    assert found.contact.email == "ana.ruiz@example.com"


def test_erased_contacts_are_not_found(edge):
    old = service.find_or_create(person=ANA).contact
    old.erased_at = old.created_at
    db.session.flush()
    assert service.find_or_create(person=ANA).is_new


def test_a_merged_record_leads_to_the_surviving_one(edge):
    keeper = service.find_or_create(person=replace(ANA, email="keeper@example.com", phone=None)).contact
    service.find_or_create(person=ANA).contact.merged_into_id = keeper.id
    db.session.flush()
    found = service.find_or_create(person=ANA)
    assert (found.contact.id, found.is_new) == (keeper.id, False)


def test_phone_and_birth_date_are_encrypted(edge):
    service.find_or_create(person=replace(ANA, birth_date=date(1960, 1, 1)))
    row = db.session.execute(text("select contact::text from contact")).scalar_one()
    assert "ana.ruiz@example.com" in row
    for secret in ("2135550142", "1960-01-01"):
        assert secret not in row
        assert secret.encode().hex() not in row


def test_get_unknown(edge):
    with pytest.raises(NotFound):
        service.get(1)


def test_tags(edge):
    who = service.find_or_create(person=ANA).contact
    assert service.add_tag(contact_id=who.id, tag="  Needs  Spanish ")
    assert not service.add_tag(contact_id=who.id, tag="needs spanish")
    assert db.session.scalars(select(Tag.tag)).all() == ["needs spanish"]
    assert service.remove_tag(contact_id=who.id, tag="needs spanish")
    assert not service.remove_tag(contact_id=who.id, tag="needs spanish")
    assert (len(lines("tagged")), len(lines("untagged"))) == (1, 1)


@pytest.mark.parametrize("tag", ["", "x" * 41, "<b>", "a;b"])
def test_invalid_tags(edge, tag):
    who = service.find_or_create(person=ANA).contact
    with pytest.raises(Invalid):
        service.add_tag(contact_id=who.id, tag=tag)


def test_clinical_stop(edge):
    who = service.find_or_create(person=ANA).contact
    service.set_clinical_stop(contact_id=who.id, reason="pregnancy")
    service.set_clinical_stop(contact_id=who.id, reason="again")
    assert (who.stop_reason, who.stopped_at is not None, len(lines("stopped"))) == ("pregnancy", True, 1)
    service.lift_clinical_stop(contact_id=who.id)
    service.lift_clinical_stop(contact_id=who.id)
    assert (who.stop_reason, who.stopped_at, len(lines("stop_lifted"))) == (None, None, 1)
    assert {"contact.stop", "contact.lift_stop"} <= set(db.session.scalars(select(AuditEntry.action)))


def test_stop_needs_a_reason(edge):
    who = service.find_or_create(person=ANA).contact
    with pytest.raises(Invalid):
        service.set_clinical_stop(contact_id=who.id, reason=" ")
