"""One intake path: contact found or made, lead opened, evidence kept, in one transaction."""

import pytest
from sqlalchemy import func, select

from crm.audit.models import AuditEntry
from crm.consent import wordings
from crm.consent.models import Confirmation, ConsentRecord
from crm.contacts.models import Activity, Contact
from crm.contacts.rules import Person
from crm.db import db
from crm.leads import intake
from crm.leads.intake import ContactRequest
from crm.leads.models import Lead, StageMove
from tests import makers

ANA = Person(
    first_name="Ana",
    last_name="Ruiz",
    email="ana.ruiz@example.com",
    phone="+12135550142",
    language="es",
    time_zone="America/Los_Angeles",
    state="CA",
)
TICKED = wordings.current("contact-form", "es")


def ask_us(person=ANA, message="Please call me.", wording=None):
    return intake.open_contact_request(
        request=ContactRequest(person=person, source="form", message=message, wording=wording)
    )


def rows(model):
    return db.session.scalar(select(func.count()).select_from(model))


@pytest.fixture
def shipped(edge):
    makers.shipped()


def test_contact_request_leaves_all_its_rows(shipped, clock):
    opened = ask_us(wording=TICKED)
    db.session.flush()
    lead = db.session.get(Lead, opened.lead_id)
    assert (lead.reference, lead.stage, lead.message) == (opened.reference, "unconfirmed", "Please call me.")
    assert lead.reference.startswith("C-")
    assert lead.contact.phone == "+12135550142"
    assert [move.now for move in db.session.scalars(select(StageMove))] == ["unconfirmed"]
    assert [a.kind for a in db.session.scalars(select(Activity))] == ["lead_opened"]
    assert "lead.open" in db.session.scalars(select(AuditEntry.action)).all()
    assert db.session.scalars(select(ConsentRecord.action)).all() == ["requested"]
    assert db.session.scalars(select(Confirmation.kind)).all() == ["confirmation"]


def test_box_not_ticked_asks_nothing(edge):
    opened = ask_us()
    assert opened.stage == "new"
    assert rows(ConsentRecord) == 0


def test_the_same_request_again_is_the_same_lead_for_a_day(edge, clock):
    first = ask_us()
    again = ask_us()
    assert (again.reference, again.is_new, first.is_new) == (first.reference, False, True)
    assert ask_us(message="Something else").reference != first.reference
    clock.shift(24 * 3600)
    assert ask_us().is_new
    assert rows(Contact) == 1
