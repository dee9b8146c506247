"""Crisis alerts from every text about a lead, and which leads wait for somebody to take them."""

import pytest
from sqlalchemy import select, update

from crm.core.db import db, transaction
from crm.leads import call_log, crisis, service
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


def test_waiting_leads(doors):  # noqa: F811
    doors.api("Ana", message=WORDS)
    lead = db.session.scalars(select(Lead)).one()
    assert crisis.waiting_leads() == [lead.id]
    with transaction():
        db.session.execute(update(Alert).values(owner_id=doors.desk))
    assert crisis.waiting_leads() == []
    with transaction():
        db.session.execute(update(Alert).values(owner_id=None))
        alerts.close(f"crisis:{lead.id}")
    assert crisis.waiting_leads() == []
