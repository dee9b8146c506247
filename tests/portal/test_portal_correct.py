"""A practice corrects what it sent: what changes at once, what waits for staff, and what is undone."""

import json
import re
from datetime import date

import pytest
from sqlalchemy import select

from crm.consent.models import Confirmation
from crm.contacts import editing
from crm.contacts.models import Activity, ContactChange
from crm.core.db import db, transaction
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.portal import referral_form
from crm.staff.models import Alert
from crm.staff.notifications.models import Notification
from tests.portal.test_portal import GOOD, refer, sent
from tests.support import factories as support_factories
from tests.support.browser_client import member, signed_in

EMAIL = {"email": "q@patients.example", "agreed": "yes"}


def correct(portal, reference, **changes):
    """Post the form as it is filled, with these changes."""
    page = portal.get(f"/refer/r/{reference}/correct").text
    number = re.search(r'name="number" value="(\d+)"', page)[1]
    answers = json.loads(leads.by_reference(reference).referral.sent)["answers"]
    return portal.post(f"/refer/r/{reference}/correct", {**answers, "number": number, **changes})


def person(reference):
    db.session.expire_all()
    return leads.by_reference(reference).contact


def test_what_the_record_has_from_the_practice_is_corrected(database, portal):
    reference = sent(refer(portal))
    with transaction():
        leads.by_reference(reference).owner_id = member("front_desk").id
    before = leads.by_reference(reference).version
    changes = {
        "last_name": "Zyzzyx",
        "birth_date": "5/18/1970",
        "state": "NY",
        "payer": "Acme",
        "reason": "Left arm",
    }
    answer = correct(portal, reference, **changes)
    assert answer.status_code == 303, answer.text
    who, lead = person(reference), leads.by_reference(reference)
    assert (who.last_name, who.birth_date, who.state) == ("Zyzzyx", "1970-05-18", "NY")
    assert who.time_zone == "America/New_York"
    health = json.loads(lead.referral.health)
    assert (health["payer"]["name"], health["reason"]["text"]) == ("Acme", "Left arm")
    assert lead.version > before
    line = db.session.scalars(select(Activity).where(Activity.kind == "referral_corrected")).one()
    assert "Last name: Zzyzx → Zyzzyx\n" in line.text
    assert "Payer: nothing → Acme" in line.text
    assert db.session.scalars(select(Alert.key)).all() == [f"portal-correction:{lead.id}"]
    assert db.session.scalars(select(Notification.link)).one() == f"/console/leads/{reference}"
    assert {one.source for one in db.session.scalars(select(ContactChange))} == {"correction"}
    page = signed_in(database, "clinician").get(f"/console/leads/{reference}").text
    assert "The practice corrected the referral" in page
    assert "Zzyzx → Zyzzyx" in page
    assert "Left arm" in portal.get(f"/refer/r/{reference}").text


def test_what_the_clinic_changed_waits_for_one_click(database, portal):
    reference = sent(refer(portal))
    with transaction():
        who = person(reference)
        editing.edit(contact_id=who.id, version=who.version, values={"phone": "+12135550177"})
    assert correct(portal, reference, phone="213 555 0199").status_code == 303
    assert person(reference).phone == "+12135550177"
    desk = signed_in(database, "front_desk")
    page = desk.get(f"/console/leads/{reference}").text
    address = re.search(r"/console/contacts/\d+/differences/\d+", page)[0]
    back = f"/console/leads/{reference}"
    values = {"field": "phone", "do": "take", "version": person(reference).version, "back": back}
    assert desk.post(address, values).location == back
    assert person(reference).phone == "+12135550199"
    assert "differences" not in desk.get(back).text


def test_a_known_person_is_never_changed(portal):
    with transaction():
        support_factories.contact(
            first_name="Quillon", last_name="Zzyzx", phone="+12135550142", birth_date="1970-05-17"
        )
    reference = sent(refer(portal, email="ana@patients.example"))
    assert correct(portal, reference, email="thief@patients.example", reason="Other").status_code == 303
    assert person(reference).email == "ana@patients.example"
    assert json.loads(leads.by_reference(reference).referral.health)["reason"]["text"] == "Other"
    assert [left for _, left in editing.differences(person(reference))] == [
        {"email": "thief@patients.example"}
    ]


def test_an_emptied_answer_can_be_taken_over(database, portal):
    reference = sent(refer(portal, **EMAIL))
    with transaction():
        db.session.add(
            Lead(
                reference="C-222222", contact_id=person(reference).id, kind="contact_request", stage="new",
                source="form", created_at=person(reference).created_at, stage_at=person(reference).created_at,
            )
        )  # fmt: skip
    correct(portal, reference, email="")
    [(line, left)] = editing.differences(person(reference))
    assert left == {"email": ""}
    with transaction():
        who = person(reference)
        editing.take_over(contact_id=who.id, version=who.version, activity_id=line.id, field="email")
    assert (person(reference).email, editing.differences(person(reference))) == (None, [])


def test_consent_is_asked_anew_at_a_corrected_address(portal):
    reference = sent(refer(portal, **EMAIL))
    assert correct(portal, reference, email="right@patients.example").status_code == 303
    who = person(reference)
    asked = db.session.scalars(select(Confirmation).order_by(Confirmation.id)).all()
    assert len(asked) == 2
    assert asked[-1].address_index == who.email_index != asked[0].address_index


def test_undo(portal):
    reference = sent(refer(portal))
    answer = correct(portal, reference, last_name="Other", reason="I want to kill myself")
    assert "help=now" in answer.location
    undo = re.search(rf"/refer/r/{reference}/correct/\d+/undo", portal.get(answer.location).text)[0]
    assert portal.post(undo).status_code == 303
    assert person(reference).last_name == GOOD["last_name"]
    assert json.loads(leads.by_reference(reference).referral.health)["reason"]["text"] == GOOD["reason"]
    assert "crisis" in " ".join(db.session.scalars(select(Alert.key).where(Alert.closed_at.is_(None))))
    portal.post(undo)
    assert "can no longer be undone" in portal.get(f"/refer/r/{reference}").text
    assert correct(portal, reference, last_name="Other").status_code == 303


def test_an_undo_settles_what_waits(portal):
    reference = sent(refer(portal))
    with transaction():
        who = person(reference)
        editing.edit(contact_id=who.id, version=who.version, values={"phone": "+12135550177"})
    answer = correct(portal, reference, phone="213 555 0199")
    portal.post(re.search(rf"/refer/r/{reference}/correct/\d+/undo", portal.get(answer.location).text)[0])
    assert (person(reference).phone, editing.differences(person(reference))) == ("+12135550177", [])


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"phone": "12"}, 422),
        ({"reason": ""}, 422),
        ({"email": "not an address"}, 422),
        ({"number": "7"}, 422),
        ({"external_id": "TAKEN-1"}, 409),
        ({}, 303),
    ],
)
def test_what_is_refused_changes_nothing(portal, changes, status):
    sent(refer(portal, first_name="Ben", birth_date="1/2/1980", phone="213 555 0188", external_id="TAKEN-1"))
    reference = sent(refer(portal))
    before = json.loads(leads.by_reference(reference).referral.sent)
    assert correct(portal, reference, **changes).status_code == status
    db.session.expire_all()
    assert json.loads(leads.by_reference(reference).referral.sent) == before
    assert db.session.scalar(select(Activity.id).where(Activity.kind == "referral_corrected")) is None


def test_urgent_stays_urgent_and_sooner_is_sooner(portal):
    reference = sent(refer(portal))
    correct(portal, reference, urgency="urgent")
    assert leads.by_reference(reference).urgent
    assert correct(portal, reference, urgency="routine").status_code == 303
    assert leads.by_reference(reference).referral.urgency == "urgent"


def test_closed_or_not_from_the_portal(portal):
    reference = sent(refer(portal))
    with transaction():
        leads.by_reference(reference).referral.sent = None
    address = f"/refer/r/{reference}"
    assert "Correct what you sent" not in portal.get(address).text
    assert portal.get(f"{address}/correct").status_code == 409


def test_answers_are_read_again_as_they_were():
    answers = referral_form.typed_answers(
        {
            **GOOD,
            "diagnoses": "G90.511, G89.4",
            "email": "q@patients.example",
            "guardian_phone": "213 555 0100",
        }
    )
    today = date(2026, 3, 3)
    once = referral_form.answers_of(referral_form.read_correction(answers, today=today).clean)
    assert referral_form.answers_of(referral_form.read_correction(once, today=today).clean) == once
