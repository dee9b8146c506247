"""Pages of the clinic's settings: facts, logo, test email, API keys, set-up."""

import io
from dataclasses import replace

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.clinic import service
from crm.consultations import queries
from crm.content.service import clinic_facts
from crm.core import clock
from crm.core.db import db, transaction
from crm.mailer.memory import MemoryMailer
from crm.messages import transports
from crm.messages.engine import pipeline
from crm.messages.engine.deliver import deliver
from crm.staff.keys import api_keys
from tests.support import factories
from tests.support.browser_client import signed_in

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40


@pytest.fixture
def admin(client, database, request):
    request.getfixturevalue("clock")
    kept, calendar = database.settings, database.services.calendar
    yield signed_in(database, "admin")
    database.settings, database.services.calendar = kept, calendar


def test_facts_are_set_audited_and_followed(admin, client, database):
    admin.get("/console/clinic")
    typed = {
        "name": "Bay Clinic",
        "address": "2 Bay Street",
        "hours": "Mon-Sat 07:00-19:00",
        "accent": "#5a2ca0",
    }
    assert admin.post("/console/clinic", typed).status_code == 302
    assert service.stored() == typed
    assert (database.settings.clinic.name, clinic_facts().address) == ("Bay Clinic", "2 Bay Street")
    assert 5 in database.services.calendar.hours
    page = client.get("/contact").text
    assert "Bay Clinic" in page
    assert "/clinic/style.css" in page
    assert "#5a2ca0" in client.get("/clinic/style.css").text
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "clinic.set")).one()
    assert entry.detail["changed"]["name"] == [None, "Bay Clinic"]
    admin.post("/console/clinic", {"name": "Bay Clinic"})
    assert service.stored() == {"name": "Bay Clinic"}


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"hours": "always"}, "is not like"),
        ({"short_name": "Ketamine Pain Clinic"}, "CLINIC_SHORT_NAME"),
        ({"from_email": "news@painrelief.example"}, "CLINIC_FROM_EMAIL"),
    ],
)
def test_what_cannot_be_set(admin, typed, says):
    admin.get("/console/clinic")
    answer = admin.post("/console/clinic", typed)
    assert (answer.status_code, says in answer.text) == (422, True)
    assert service.stored() == {}


def test_the_environment_wins(admin, database):
    database.settings = replace(database.settings, clinic_env=(("phone", "+1 555 010 0123"),))
    assert "Set by CLINIC_PHONE in the environment" in admin.get("/console/clinic").text
    admin.post("/console/clinic", {"phone": "+1 555 010 0999", "name": "Bay Clinic"})
    assert service.stored() == {"name": "Bay Clinic"}
    assert database.settings.clinic.phone == "+1 555 010 0123"


def test_another_process_follows(admin, database, monkeypatch):
    admin.get("/console/clinic")
    admin.post("/console/clinic", {"name": "Bay Clinic"})
    database.settings = replace(database.settings, clinic=replace(database.settings.clinic, name="Old"))
    monkeypatch.setattr(service, "LOOK_EVERY", 0)
    service.refresh()
    assert database.settings.clinic.name == "Bay Clinic"


def test_logo(admin, client):
    assert client.get("/clinic/logo").status_code == 404
    admin.get("/console/clinic")
    assert admin.post("/console/clinic/logo", {"logo": (io.BytesIO(b"<svg>"), "x.png")}).status_code == 422
    assert admin.post("/console/clinic/logo", {"logo": (io.BytesIO(PNG), "x.png")}).status_code == 302
    logo = client.get("/clinic/logo")
    assert (logo.data, logo.content_type, logo.headers["X-Content-Type-Options"]) == (
        PNG,
        "image/png",
        "nosniff",
    )
    assert 'alt="' in client.get("/contact").text.split("/clinic/logo")[1][:80]
    admin.post("/console/clinic/logo", {"remove": "yes"})
    assert client.get("/clinic/logo").status_code == 404


def test_email(admin, database):
    mailer = MemoryMailer()
    transports.use({"sendgrid": mailer})
    admin.get("/console/clinic")
    assert admin.post("/console/clinic/test-email").status_code == 409  # nothing is approved
    with transaction():
        factories.shipped()
    database.settings = replace(database.settings, clinic_gaps=("address",))
    assert admin.post("/console/clinic/test-email").status_code == 409
    assert pipeline.run(settings=database.settings) == 0
    assert deliver(1, settings=database.settings) == "nothing"
    database.settings = replace(database.settings, clinic_gaps=())
    assert admin.post("/console/clinic/test-email").status_code == 302
    assert [to.email for to in mailer.sent[0][1]] == ["admin@clinic.example"]
    transports.use({})


def test_keys(admin):
    page = admin.get("/console/api-keys")
    assert "No keys yet" in page.text
    wanted = {"name": "Front office", "scope": ["leads:read"], "days": "30"}
    assert admin.post("/console/api-keys", wanted | {"scope": []}).status_code == 422
    assert admin.post("/console/api-keys", wanted | {"days": "1"}).status_code == 422
    shown = admin.post("/console/api-keys", wanted).text
    plain = shown.split("crm_")[1].split("<")[0]
    assert "never" in shown
    assert api_keys.find(f"crm_{plain}").scopes == {"leads:read"}
    (row,) = api_keys.every()
    assert row.last_used_at is not None
    assert plain not in admin.get("/console/api-keys").text
    row.expires_at = clock.now()
    db.session.flush()
    assert api_keys.find(f"crm_{plain}") is None
    row.expires_at = None
    db.session.flush()
    assert api_keys.find(f"crm_{plain}") is not None
    assert admin.post(f"/console/api-keys/{row.id}/revoke").status_code == 302
    assert api_keys.find(f"crm_{plain}") is None
    assert "Revoked" in admin.get("/console/api-keys").text


def test_setup_leads_from_empty_to_ready(admin, database):
    page = admin.get("/console/setup").text
    assert "1 of 6 steps done" in page
    assert "/webhooks/sendgrid" in page
    with transaction():
        factories.shipped()
    assert "3 of 6 steps done" in admin.get("/console/setup").text
    checked = admin.get("/console/setup?check=1").text
    assert "No scheduler is running" in checked


def test_rooms(admin, client, database):
    assert admin.post("/console/clinic/rooms", {"room": ""}).status_code == 422
    assert admin.post("/console/clinic/rooms", {"room": "Room A"}).status_code == 302
    [room] = queries.rooms()
    address = f"/console/clinic/rooms/{room.id}"
    assert admin.post(address, {"name": " "}).status_code == 422
    admin.post(address, {"name": "Annex"})
    assert "Name of Annex" in admin.get("/console/clinic").text
    assert signed_in(database, "front_desk").post(address, {"do": "remove"}).status_code == 403
    admin.post(address, {"do": "remove"})
    assert queries.rooms() == []
    actions = select(AuditEntry.action).where(AuditEntry.object_type == "room").order_by(AuditEntry.id)
    assert db.session.scalars(actions).all() == ["room.add", "room.rename", "room.remove"]
