"""New entries by staff: look-alikes, the referrer, consent that is only asked."""

import re

import pytest
from sqlalchemy import select

from crm.consent.models import Confirmation, ConsentRecord, ConsentState
from crm.contacts.models import Activity, Contact
from crm.core.db import db, transaction
from crm.leads.models import Lead, Referral
from crm.referrers import service as referrers
from crm.referrers.models import Clinician
from crm.referrers.service import Sender
from crm.sequences.models import Enrolment
from tests.support import factories
from tests.support.browser_client import signed_in

ANA = {"first_name": "Ana", "last_name": "Lopez", "phone": "213 555 0142", "source": "phone"}
PAPER = ANA | {"what": "referral", "source": "fax", "reason": "CRPS", "diagnoses": "g90511"}
NORA = {"clinician_name": "Nora Field", "npi": "1234567893", "practice": "Family Medicine"}


@pytest.fixture
def desk(client, database):
    visitor = signed_in(database, "front_desk")
    visitor.get("/console/new")
    return visitor


@pytest.fixture
def nora(client):
    with transaction():
        return referrers.find_or_create(
            sender=Sender(clinician="Nora Field", npi="1234567893", practice="Family Medicine")
        )


def lead():
    return db.session.scalars(select(Lead)).one()


@pytest.mark.parametrize("what", ["lead", "referral", "contact"])
def test_empty_form(desk, what):
    assert desk.get(f"/console/new?what={what}").status_code == 200


def test_a_caller_becomes_a_lead(desk):
    answer = desk.post("/console/new", ANA | {"what": "lead", "message": "My back", "heard_from": "friend"})
    assert answer.location == f"/console/leads/{lead().reference}"
    assert (lead().source, lead().heard_from, lead().message) == ("phone", "friend", "My back")
    assert lead().first_human_touch_at is not None
    assert "received through the phone" in desk.get(answer.location).text


def test_a_contact_without_a_lead(desk):
    answer = desk.post("/console/new", ANA | {"what": "contact", "source": "event"})
    made = db.session.scalars(select(Contact)).one()
    assert answer.location == f"/console/contacts/{made.id}"
    assert db.session.scalars(select(Activity.detail).where(Activity.kind == "contact_added")).one() == {
        "source": "event"
    }
    assert "Contact added by staff" in desk.get(answer.location).text


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"what": "lead", "last_name": "Lopez"}, "phone"),
        ({"what": "lead", "phone": "2135550142"}, "first_name"),
        (ANA | {"what": "lead", "source": "pigeon"}, "source"),
        (ANA | {"what": "lead", "spoken": "yes"}, "email"),
        (ANA | {"what": "lead", "heard_from": "stars"}, "heard_from"),
        (PAPER | {"reason": "", "referrer": "x"}, "reason"),
        (PAPER | {"referrer": "Nobody"}, "referrer"),
        (PAPER | NORA | {"npi": "1234567890"}, "npi"),
        (PAPER | NORA | {"practice": ""}, "practice"),
        (PAPER | NORA | {"birth_date": "1/1/2020"}, "guardian_name"),
    ],
)
def test_what_is_wrong(desk, form, field):
    answer = desk.post("/console/new", form)
    assert answer.status_code == 422
    assert f'href="#f-{field}"' in answer.text
    assert db.session.scalars(select(Contact)).all() == []


def test_unknown_kind(desk):
    assert desk.post("/console/new", ANA | {"what": "order"}).status_code == 422


def test_look_alikes_are_shown_first(desk):
    with transaction():
        known = factories.contact("ana@patients.example")
    form = ANA | {"what": "lead", "email": "other@patients.example"}
    page = desk.post("/console/new", form)
    assert page.status_code == 200
    assert "Is it one of these?" in page.text
    assert "same name" in page.text
    assert db.session.scalars(select(Lead)).all() == []
    desk.post("/console/new", form | {"contact": str(known.id)})
    known = db.session.get_one(Contact, known.id, populate_existing=True)
    assert (lead().contact_id, known.phone, known.email) == (known.id, "+12135550142", "ana@patients.example")
    assert db.session.scalars(select(Activity.kind).where(Activity.kind == "told_otherwise")).one()


def test_none_of_these(desk):
    with transaction():
        known = factories.contact("ana@patients.example")
    desk.post("/console/new", ANA | {"what": "lead", "email": "o@patients.example", "contact": "new"})
    assert lead().contact_id != known.id


def test_look_alikes_while_typing(desk):
    with transaction():
        factories.contact("ana@patients.example")
    assert "ana@patients.example" in desk.post("/console/new/look-alikes", ANA).text
    assert desk.post("/console/new/look-alikes", ANA | {"last_name": "Other"}).text.strip() == ""


def test_for_a_known_person(desk):
    with transaction():
        known = factories.contact("ana@patients.example")
    page = desk.get(f"/console/new?contact={known.id}").text
    assert 'value="ana@patients.example"' in page
    desk.post("/console/new", ANA | {"what": "lead", "contact": str(known.id)})
    assert lead().contact_id == known.id


def test_a_spoken_agreement_is_an_invitation_and_no_consent(desk):
    with transaction():
        factories.shipped()
    desk.post("/console/new", ANA | {"what": "lead", "email": "ana@patients.example", "spoken": "yes"})
    record = db.session.scalars(select(ConsentRecord)).one()
    assert (record.action, record.source, record.wording) == ("attested", "staff", "spoken-agreement/1")
    assert db.session.scalars(select(Confirmation.kind)).one() == "invitation"
    assert (db.session.scalars(select(ConsentState)).all(), db.session.scalars(select(Enrolment)).all()) == (
        [],
        [],
    )
    page = desk.get(f"/console/contacts/{lead().contact_id}").text
    assert "Spoken agreement to educational emails noted; invitation sent" in page


def test_a_fax_becomes_a_referral_of_a_known_clinician(desk, nora):
    answer = desk.post("/console/new", PAPER | {"referrer": "nora fam", "external_id": "MRN-7"})
    assert answer.status_code == 302
    made = db.session.scalars(select(Referral)).one()
    assert (made.clinician_id, made.external_id, lead().source) == (nora.id, "MRN-7", "fax")
    assert '"diagnoses":["G90.511"]' in made.health
    again = desk.post(
        "/console/new", PAPER | {"referrer": "1234567893", "external_id": "MRN-7", "contact": "new"}
    )
    assert again.location == answer.location


def test_several_clinicians_to_choose_from(desk, nora):
    with transaction():
        db.session.add(
            Clinician(
                practice_id=nora.practice_id, name="Nora Fields", npi="1245319599", created_at=nora.created_at
            )
        )
    page = desk.post("/console/new", PAPER | {"referrer": "Nora"})
    assert "Which clinician" in page.text
    desk.post("/console/new", PAPER | {"referrer": "Nora", "clinician": str(nora.id)})
    assert db.session.scalars(select(Referral)).one().clinician_id == nora.id


def test_a_new_clinician(desk):
    assert desk.post("/console/new", PAPER | NORA | {"practice_phone": "3105550100"}).status_code == 302
    made = db.session.scalars(select(Clinician)).one()
    assert (made.name, made.practice.name, made.practice.phone) == (
        "Nora Field",
        "Family Medicine",
        "+13105550100",
    )


def test_new_is_a_key_on_every_page(desk, client, database):
    page = desk.get("/console/account").text
    assert re.search(r'data-key="\+"', page)
    assert 'href="/console/new?what=referral"' in page
    assert "/console/new" not in signed_in(database, "viewer").get("/console/account").text
