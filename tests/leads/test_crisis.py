"""Crisis alerts from every text about a lead, and which leads wait for an owner."""

import pytest
from sqlalchemy import select, update

from crm.core.db import db, transaction
from crm.desk import worklists
from crm.leads import call_log, queries, service
from crm.leads.models import Lead
from crm.portal import service as portal_service
from crm.staff import alerts
from crm.staff.models import Alert
from tests.intake.test_bad_input import Doors, doors  # noqa: F401 - a fixture
from tests.portal.test_portal import enter, refer

WORDS = "I want to kill myself"


def open_alerts():
    return db.session.scalars(select(Alert).where(Alert.key.like("crisis:%"))).all()


def note(lead):
    service.add_note(lead_id=lead.id, text=WORDS)


def call(lead):
    call_log.log_call(lead_id=lead.id, channel="phone", outcome="voicemail", note=WORDS)


def practice(lead):
    portal_service.write_message(lead=lead, text="The patient wants to die.", from_clinic=False)


def clinic(lead):
    portal_service.write_message(lead=lead, text="The patient wants to die.", from_clinic=True)


@pytest.mark.parametrize("write", [note, call, practice, clinic])
def test_texts_about_a_referral(doors, write):  # noqa: F811
    doors.referral("Ana")
    lead = db.session.scalars(select(Lead)).one()
    assert open_alerts() == []
    with transaction():
        write(lead)
    [alert] = open_alerts()
    assert (alert.level, alert.link) == ("danger", f"/console/leads/{lead.reference}")
    assert lead.contact.last_name not in alert.text


@pytest.mark.parametrize("door", ["form", "api"])
def test_message(doors: Doors, door):  # noqa: F811
    getattr(doors, door)("Ana", message=WORDS)
    assert len(open_alerts()) == 1


def test_portal_shows_whom_to_call(doors):  # noqa: F811
    visitor = enter(doors.app, doors.nurse)
    sent = refer(visitor, reason="Suicidal ideation, wants to die")
    assert "call or text 988" in visitor.get(sent.location).text
    assert len(open_alerts()) == 1
    lead = db.session.scalars(select(Lead)).one()
    page = f"/refer/r/{lead.reference}"
    assert "call or text 988" not in visitor.get(page).text
    sent = visitor.post(f"{page}/messages", {"text": "He says he wants to end his life."})
    assert "call or text 988" in visitor.get(sent.location).text


def test_leads_in_crisis(doors):  # noqa: F811
    doors.api("Ana", message=WORDS)
    lead = db.session.scalars(select(Lead)).one()
    assert list(queries.leads_in_crisis()) == [lead]
    with transaction():
        db.session.execute(update(Alert).values(owner_id=doors.desk))
    assert list(queries.leads_in_crisis()) == []
    with transaction():
        db.session.execute(update(Alert).values(owner_id=None))
        alerts.close(f"crisis:{lead.id}")
    assert list(queries.leads_in_crisis()) == []


@pytest.mark.parametrize("name", worklists.LISTS)
def test_every_list_begins_with_a_crisis(doors, name):  # noqa: F811
    for person in ("Ana", "Boris", "Cleo"):
        doors.api(person, email=f"{person}@example.test", message=WORDS if person == "Boris" else "Hi")
    page = worklists.load_list(name, me=doors.desk)
    assert page.rows[0].contact.first_name == "Boris"
    assert len({lead.id for lead in page.rows}) == len(page.rows)
