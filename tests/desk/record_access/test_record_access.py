"""Emergency access to one record, the list of its viewers, and alerts about who sees too many."""

import pytest
from sqlalchemy import select

from crm.audit import service as audit
from crm.audit.models import AuditEntry
from crm.consent import consent_texts
from crm.contacts.rules import Person
from crm.core.db import db, transaction
from crm.desk.models import EmergencyAccess
from crm.desk.record_access import volume
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads.models import Lead
from crm.privacy import service as privacy
from crm.staff.models import Alert
from tests.support import factories
from tests.support.browser_client import BrowserClient, member, signed_in

MESSAGE = "My mother has not slept for days."
WHY = {"reason": "medical", "text": "The ambulance asks what she takes."}


def opened(message, email):
    """A contact request of a new person."""
    with transaction():
        person = Person(
            first_name="Ana", last_name="Ruiz", email=email, language="en", time_zone="America/Denver"
        )
        wording = consent_texts.current("contact-form", "en")
        request = ContactRequest(person=person, source="form", message=message, wording=wording)
        lead_id = intake.open_contact_request(request=request).lead_id
    return db.session.get_one(Lead, lead_id)


@pytest.fixture
def lead(client):
    with transaction():
        factories.shipped()
    return opened(MESSAGE, "ana@patients.example")


def alert_texts():
    return {alert.key.split(":")[0]: alert.text for alert in db.session.scalars(select(Alert))}


def test_one_record_opens_for_an_hour(lead, database, clock):
    clinician = signed_in(database, "clinician")
    assert "Open them in an emergency" not in clinician.get(f"/console/leads/{lead.reference}").text
    visitor = BrowserClient(database).sign_in(member("marketer", name="Mara Market"))
    page = f"/console/leads/{lead.reference}"
    assert MESSAGE not in visitor.get(page).text
    visitor.get(f"/console/records/{lead.reference}/emergency")
    short = visitor.post(f"/console/records/{lead.reference}/emergency", {"reason": "bored", "text": "x"})
    assert (short.status_code, MESSAGE in visitor.get(page).text) == (422, False)
    assert visitor.post(f"/console/records/{lead.reference}/emergency", WHY).status_code == 302
    assert MESSAGE in visitor.get(page).text
    other = opened("Another person writes.", "ben@patients.example")
    assert "Another person writes." not in visitor.get(f"/console/leads/{other.reference}").text
    assert "Mara Market opened the clinical details" in alert_texts()["emergency"]
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "contact.emergency")).one()
    assert (entry.object_id, entry.purpose) == (lead.contact_id, "medical")
    for _ in range(6):
        clock.shift(601)
        visitor.get("/console/account")
    assert MESSAGE not in visitor.get(page).text


def test_viewers_are_listed_in_sentences(lead, database):
    boss = BrowserClient(database).sign_in(member("admin", name="Ada Admin"))
    visitor = BrowserClient(database).sign_in(member("viewer", name="Vera Viewer"))
    visitor.get(f"/console/leads/{lead.reference}")
    visitor.get(f"/console/records/{lead.reference}/emergency")
    visitor.post(f"/console/records/{lead.reference}/emergency", WHY)
    other = opened("Another person writes.", "ben@patients.example")
    boss.get(f"/console/leads/{other.reference}")
    page = boss.get(f"/console/records/{lead.reference}/viewers").text
    assert "Vera Viewer viewed the page of a lead." in page
    assert "Vera Viewer opened the clinical details as an emergency." in page
    assert WHY["text"] in page
    assert "Ada Admin viewed" not in page
    assert visitor.get(f"/console/records/{lead.reference}/viewers").status_code == 403


def test_an_erasure_deletes_the_explanation(lead, database):
    visitor = signed_in(database, "viewer")
    visitor.get(f"/console/records/{lead.reference}/emergency")
    visitor.post(f"/console/records/{lead.reference}/emergency", WHY)
    with transaction():
        privacy.erase(contact_id=lead.contact_id, reason="asked")
    assert db.session.scalars(select(EmergencyAccess)).all() == []


@pytest.mark.parametrize(
    ("action", "given", "times", "alerted"),
    [
        ("lead.view", {"object_type": "lead", "object_id": 1}, 200, False),
        ("lead.view", {"object_type": "lead", "object_id": 1}, 201, True),
        ("why.view", {"object_type": "message", "object_id": 1, "detail": {"contact_ids": [1]}}, 201, True),
        ("lead.list", {"detail": {"ids": list(range(50))}}, 40, False),
        ("lead.list", {"detail": {"ids": list(range(50))}}, 41, True),
        ("lead.search", {"detail": {"ids": list(range(30)), "contacts": list(range(30))}}, 34, True),
        ("contact.list", {"detail": {"ids": list(range(2001))}}, 1, True),
        ("lead.stage", {"object_type": "lead", "object_id": 1}, 300, False),  # work, not looking
    ],
)
@pytest.mark.parametrize("actor", ["staff:7", "key:3"])
def test_many_records_in_five_minutes_raise_one_alert(edge, clock, actor, action, given, times, alerted):
    with audit.acting(actor):
        for _ in range(times):
            audit.record(action, **given)
    db.session.flush()
    assert volume.check() == volume.check() == int(alerted)
    assert ("views" in alert_texts()) is alerted
    clock.shift(301)
    assert volume.check() == 0
