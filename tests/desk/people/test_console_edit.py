"""Editing a person in place."""

import re

import pytest
from sqlalchemy import select

from crm.contacts import editing
from crm.contacts import service as contacts
from crm.contacts.models import Contact, ContactChange, Tag
from crm.core import clock as core_clock
from crm.core.db import db, transaction
from crm.referrers import accounts
from crm.referrers.models import PortalPerson, Practice
from tests.support import factories
from tests.support.browser_client import signed_in


@pytest.fixture
def desk(client, database):
    visitor = signed_in(database, "front_desk")
    visitor.get("/console/contacts")
    return visitor


@pytest.fixture
def ana(client):
    with transaction():
        return factories.contact(phone="+12135550142")


def form(ana, **values):
    ana = db.session.get_one(Contact, ana.id, populate_existing=True)
    shown = {name: "" if value is None else str(value) for name, value in editing.values_of(ana).items()}
    return {**shown, "version": ana.version, **values}


def person(ana):
    return db.session.get_one(Contact, ana.id, populate_existing=True)


def test_the_form_stands_on_the_page(desk, ana):
    assert "Edit details" in desk.get(f"/console/contacts/{ana.id}").text
    page = desk.get(f"/console/contacts/{ana.id}?edit=1").text
    assert 'name="preferred_name"' in page
    assert 'value="(213) 555-0142"' in page


def test_save_and_undo(desk, ana):
    sent = form(ana, first_name="Anna", birth_date="5/17/1970", more_kind="work", more_number="3105550100")
    answer = desk.post(f"/console/contacts/{ana.id}/edit", sent)
    assert answer.location == f"/console/contacts/{ana.id}"
    assert (person(ana).first_name, person(ana).birth_date) == ("Anna", "1970-05-17")
    page = desk.get(answer.location).text
    assert "Saved: first name, birth date, more phone numbers." in page
    assert "<s>Ana</s>" in page
    undo = re.search(rf"/console/contacts/{ana.id}/undo/\d+", page)[0]
    assert desk.post(undo).status_code == 302
    assert (person(ana).first_name, person(ana).birth_date) == ("Ana", None)
    assert desk.post(undo).status_code == 409


def test_edit_leads_back_to_the_lead(desk, ana):
    back = "/console/leads/C-222222"
    page = desk.get(f"/console/contacts/{ana.id}?edit=1&back={back}").text
    assert f'name="back" value="{back}"' in page
    answer = desk.post(f"/console/contacts/{ana.id}/edit", form(ana, first_name="Anna", back=back))
    assert answer.location == back


def test_nothing_changed(desk, ana):
    desk.post(f"/console/contacts/{ana.id}/edit", form(ana))
    assert "Nothing was changed." in desk.get(f"/console/contacts/{ana.id}").text
    assert db.session.scalars(select(ContactChange)).all() == []


def test_what_is_wrong_keeps_what_was_typed(desk, ana):
    sent = form(ana, email="anna@", preferred_name="Nita", more_kind="home", more_number="12")
    answer = desk.post(f"/console/contacts/{ana.id}/edit", sent)
    assert answer.status_code == 422
    assert 'value="anna@"' in answer.text
    assert 'value="Nita"' in answer.text
    assert 'href="#f-phone_0"' in answer.text


def test_two_editors(desk, ana):
    sent = form(ana, first_name="Anna")
    with transaction():
        contacts.get(ana.id).state = "CA"
    answer = desk.post(f"/console/contacts/{ana.id}/edit", sent)
    assert answer.status_code == 409
    assert "changed in the meantime" in answer.text
    assert 'value="Anna"' in answer.text
    assert person(ana).first_name == "Ana"


def test_a_new_address_says_what_follows(desk, ana):
    desk.post(f"/console/contacts/{ana.id}/edit", form(ana, email="anna@patients.example"))
    assert "The old address keeps its opt-outs" in desk.get(f"/console/contacts/{ana.id}").text


def test_address_of_a_portal_user(desk, ana):
    with transaction():
        practice = Practice(name="Family Medicine", created_at=core_clock.now())
        db.session.add(practice)
        db.session.flush()
        account = accounts.invite(
            practice_id=practice.id, name="Nora Field", email="nora@practice.example", zone="UTC"
        )
    nora = db.session.get_one(Contact, account.contact_id)
    answer = desk.post(f"/console/contacts/{nora.id}/edit", form(nora, email="other@practice.example"))
    assert answer.status_code == 422
    assert "signs in to the portal" in answer.text
    assert desk.post(f"/console/contacts/{nora.id}/edit", form(nora, first_name="N.")).status_code == 302
    assert db.session.scalars(select(PortalPerson.email)).one() == "nora@practice.example"


def test_without_clinical_access_the_birth_date_is_hidden(client, database, ana):
    with transaction():
        editing.edit(contact_id=ana.id, version=ana.version, values={"guardian_name": "Eva Canary"})
    assert "Eva Canary" in signed_in(database, "clinician").get(f"/console/contacts/{ana.id}").text
    assert "Eva Canary" not in signed_in(database, "marketer").get(f"/console/contacts/{ana.id}").text


def test_take_over_and_keep(desk, ana):
    with transaction():
        contacts.record_activity(
            contact_id=ana.id,
            kind="told_otherwise",
            text="first name: Anna; state: CA",
            detail={"fields": ["first_name", "state"]},
        )
    page = desk.get(f"/console/contacts/{ana.id}").text
    assert "They wrote something else" in page
    address = re.search(rf"/console/contacts/{ana.id}/differences/\d+", page)[0]
    desk.post(address, {"field": "first_name", "do": "take", "version": person(ana).version})
    desk.post(address, {"field": "state", "do": "keep"})
    assert (person(ana).first_name, person(ana).state) == ("Anna", None)
    assert "They wrote something else" not in desk.get(f"/console/contacts/{ana.id}").text
    assert desk.post(address, {"field": "state", "do": "keep"}).status_code == 404


def test_tags(desk, ana):
    desk.post(f"/console/contacts/{ana.id}/tag", {"tag": "VIP"})
    assert db.session.scalars(select(Tag.tag)).all() == ["vip"]
    desk.post(f"/console/contacts/{ana.id}/tag", {"off": "vip"})
    assert db.session.scalars(select(Tag.tag)).all() == []
    assert desk.post(f"/console/contacts/{ana.id}/tag", {"tag": "!"}).status_code == 422
