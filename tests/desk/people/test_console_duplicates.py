"""Comparing and merging records; splitting one."""

import re

import pytest
from sqlalchemy import select

from crm.consent.models import ConsentState
from crm.contacts import editing
from crm.contacts.models import Activity, Contact
from crm.contacts.rules import Person
from crm.core.db import db, transaction
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import service as leads
from crm.leads.models import Lead
from tests.support import factories
from tests.support.browser_client import signed_in


@pytest.fixture
def desk(client, database):
    visitor = signed_in(database, "front_desk")
    visitor.get("/console/contacts")
    return visitor


def fresh(contact_id):
    return db.session.get_one(Contact, contact_id, populate_existing=True)


@pytest.fixture
def two(client):
    with transaction():
        kept = factories.contact("ana@patients.example", phone="+12135550142")
        gone = factories.contact("ana@patients.example", first_name="Anna", state="CA")
    return kept.id, gone.id


def test_compare_and_merge(desk, two):
    kept, gone = two
    assert f"/console/contacts/{kept}/compare/{gone}" in desk.get(f"/console/contacts/{kept}").text
    page = desk.get(f"/console/contacts/{kept}/compare/{gone}").text
    assert 'id="g-state" name="state" value="gone" checked' in page
    assert 'name="email"' not in page  # the same in both
    sent = {
        "first_name": "gone",
        "state": "gone",
        "version": fresh(kept).version,
        "gone_version": fresh(gone).version,
    }
    answer = desk.post(f"/console/contacts/{kept}/compare/{gone}", sent)
    assert answer.location == f"/console/contacts/{kept}"
    assert (fresh(kept).first_name, fresh(kept).state, fresh(gone).merged_into_id) == ("Anna", "CA", kept)
    undo = re.search(rf"/console/contacts/{kept}/unmerge/\d+", desk.get(f"/console/contacts/{kept}").text)[0]
    desk.post(undo)
    assert (fresh(kept).first_name, fresh(kept).state, fresh(gone).merged_into_id) == ("Ana", None, None)
    assert desk.post(undo).status_code == 404


def test_compare_holds_what_was_seen(desk, two):
    kept, gone = two
    sent = {"version": fresh(kept).version, "gone_version": fresh(gone).version}
    with transaction():
        editing.edit(contact_id=gone, version=fresh(gone).version, values={"state": "NV"})
    assert desk.post(f"/console/contacts/{kept}/compare/{gone}", sent).status_code == 409
    assert desk.get(f"/console/contacts/{kept}/compare/{kept}").status_code == 409


@pytest.fixture
def couple(client):
    """One record of Ana and Bo: two requests from one mailbox, and consent."""
    person = Person(
        first_name="Ana",
        last_name="Lopez",
        email="lopez@patients.example",
        phone="+12135550142",
        time_zone="UTC",
    )
    with transaction():
        factories.shipped()
        opened = [
            intake.open_contact_request(request=ContactRequest(person=person, source="form", message=text))
            for text in ("Ana's back", "Bo's knee")
        ]
        leads.add_note(lead_id=opened[1].lead_id, text="Spoke with Bo")
        factories.opted_in(fresh(opened[0].contact_id))
    return opened


def split(desk, couple, **values):
    contact = fresh(couple[0].contact_id)
    sent = {
        "first_name": "Bo",
        "last_name": "Lopez",
        "email": "both",
        "phone": "moves",
        "lead": couple[1].lead_id,
    }
    return desk.post(f"/console/contacts/{contact.id}/split", {"version": contact.version, **sent, **values})


def test_split_and_undo(desk, couple):
    page = desk.get(f"/console/contacts/{couple[0].contact_id}/split").text
    assert couple[1].reference in page
    answer = split(desk, couple)
    bo = fresh(int(answer.location.rsplit("/", 1)[1]))
    ana, bo_id = fresh(couple[0].contact_id), bo.id
    assert (bo.name, bo.email, bo.phone) == ("Bo Lopez", "lopez@patients.example", "+12135550142")
    assert (ana.name, ana.email, ana.phone) == ("Ana Lopez", "lopez@patients.example", None)
    assert db.session.get_one(Lead, couple[1].lead_id, populate_existing=True).contact_id == bo.id
    assert db.session.scalars(select(Activity.contact_id).where(Activity.kind == "note")).one() == bo.id
    assert set(db.session.scalars(select(ConsentState.contact_id))) == {ana.id}
    page = desk.get(answer.location).text
    assert "Split from a record that held two people" in page
    undo = re.search(rf"/console/contacts/{ana.id}/split/undo/\d+", page)[0]
    assert desk.post(undo.replace(str(ana.id), "999999", 1)).status_code == 404
    assert desk.post(undo).status_code == 302
    assert (fresh(ana.id).phone, db.session.get(Contact, bo_id, populate_existing=True)) == (
        "+12135550142",
        None,
    )
    assert set(db.session.scalars(select(Lead.contact_id))) == {ana.id}


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"first_name": "", "last_name": ""}, 422),
        ({"lead": "999999"}, 422),
        ({"email": "perhaps"}, 422),
        ({"version": "0"}, 409),
    ],
)
def test_split_is_refused(desk, couple, values, status):
    answer = split(desk, couple, **values)
    assert answer.status_code == status
    assert "Split a record" in answer.text
    assert len(db.session.scalars(select(Contact)).all()) == 1
