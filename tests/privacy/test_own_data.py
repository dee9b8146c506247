"""A person's own data by a link to their mailbox, and the copy that staff hand over."""

import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core import clock as time
from crm.core import tokens
from crm.core.db import db, transaction
from crm.core.tokens import Purpose
from crm.leads import service as leads
from crm.messages.models import Message
from crm.privacy import holds
from crm.privacy.models import OwnDataLink, ProviderErasure
from crm.sandbox.server import SandboxServer
from crm.sandbox.settings import SandboxSettings
from crm.staff.models import Alert
from jobs import privacy as jobs
from tests.desk.test_console_work import new_lead
from tests.intake.test_service import ANA, refer
from tests.support import factories
from tests.support.browser_client import BrowserClient, signed_in


@pytest.fixture
def visitor(client, database, clock):
    with transaction():
        factories.shipped()
    return BrowserClient(database)


def asked(visitor, email: str) -> list[str]:
    """Ask for a link; return the tokens of all links."""
    visitor.get("/your-data")
    assert visitor.post("/your-data", {"email": email}).location == "/your-data/sent"
    links = db.session.scalars(select(OwnDataLink.id).order_by(OwnDataLink.id)).all()
    return [tokens.sign(Purpose.OWN_DATA, link) for link in links]


def unpacked(answer) -> tuple[str, dict]:
    with zipfile.ZipFile(io.BytesIO(answer.data)) as packed:
        return packed.read("copy.html").decode(), json.loads(packed.read("copy.json"))


def test_a_copy_by_a_link_that_works_once(visitor):
    lead = new_lead(1, birth_date=date(1980, 2, 3))
    with transaction():
        lead.message = "My back hurts"
        factories.opted_in(lead.contact)
    (token,) = asked(visitor, " P1@Example.com ")
    sent = db.session.scalar(
        select(Message.params).where(Message.contact_id == lead.contact_id).order_by(Message.id.desc())
    )
    assert set(sent["links"]) == {"data_url"}
    page = visitor.get(f"/d/{token}")
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    assert visitor.get(f"/d/{token}").status_code == 200  # a scanner opened it before
    page, data = unpacked(visitor.post(f"/d/{token}/copy"))
    assert data["person"][0]["email"] == "p1@example.com"
    assert data["requests"][0] | {"received": ""} == {
        "reference": lead.reference, "received": "", "open": True, "message": "My back hurts",
    }  # fmt: skip
    assert [one["action"] for one in data["consent"]] == ["requested", "granted"]
    assert "My back hurts" in page
    assert "1980-02-03" not in page + json.dumps(data)
    for address in (f"/d/{token}/copy", f"/d/{token}/erase"):
        assert visitor.post(address, {"sure": "yes"}).status_code == 404


def test_known_and_unknown_addresses_get_the_same_answer(visitor):
    new_lead(1)
    visitor.get("/your-data")
    known = visitor.post("/your-data", {"email": "p1@example.com"})
    unknown = visitor.post("/your-data", {"email": "nobody@example.com"})
    assert (known.status_code, known.data, known.location) == (
        unknown.status_code,
        unknown.data,
        unknown.location,
    )
    assert visitor.post("/your-data", {"email": "no address"}).status_code == 422
    assert len(db.session.scalars(select(OwnDataLink)).all()) == 1
    for _ in range(20):
        answer = visitor.post("/your-data", {"email": "p1@example.com"})
    assert answer.status_code == 429
    assert len(db.session.scalars(select(OwnDataLink)).all()) == 3  # an address gets three links an hour


def test_an_old_link_opens_nothing(visitor, clock):
    new_lead(1)
    (token,) = asked(visitor, "p1@example.com")
    clock.shift(timedelta(minutes=16))
    assert visitor.get(f"/d/{token}").status_code == 404
    assert visitor.get("/d/garbage").status_code == 404


def test_erasure_by_the_person(visitor):
    lead = new_lead(1)
    (token,) = asked(visitor, "p1@example.com")
    visitor.get(f"/d/{token}")
    assert (
        visitor.post(f"/d/{token}/erase").status_code == 422
    )  # the box is not ticked, so the link is still good
    answer = visitor.post(f"/d/{token}/erase?lang=es", {"sure": "yes"})
    assert (answer.status_code, "Sus datos se borraron" in answer.text) == (200, True)
    db.session.expire_all()
    assert lead.contact.email is None
    assert db.session.scalars(select(ProviderErasure)).one().address == "p1@example.com"


@pytest.mark.parametrize("why", ["referral", "hold"])
def test_where_a_record_must_be_kept_staff_decide(visitor, why):
    with transaction():
        lead = (
            leads.get(refer(replace(ANA, email="p1@example.com")).lead_id)
            if why == "referral"
            else new_lead(1)
        )
        if why == "hold":
            holds.place(contact_id=lead.contact_id, records=[lead.contact_id], reason="Case 7")
    (token,) = asked(visitor, "p1@example.com")
    visitor.get(f"/d/{token}")
    answer = visitor.post(f"/d/{token}/erase?lang=en", {"sure": "yes"})
    assert "answer you within 45 days" in answer.text
    assert lead.contact.email == "p1@example.com"
    alert = db.session.scalars(select(Alert).where(Alert.key == f"erasure-asked:{lead.contact_id}")).one()
    assert alert.link == f"/console/erase/{lead.reference}"


def test_the_copy_of_staff_has_everything(visitor, database):
    with transaction():
        lead = leads.get(refer(health={"reason": "Spinal stenosis"}).lead_id)
        leads.add_note(lead_id=lead.id, text="Prefers mornings")
    admin = signed_in(database, "admin")
    address = f"/console/copy/{lead.reference}"
    assert f'href="{address}"' in admin.get(f"/console/leads/{lead.reference}").text
    assert admin.get(address).status_code == 200
    assert admin.post(address, {"purpose": "short"}).status_code == 422
    page, data = unpacked(admin.post(address, {"purpose": "The person asked on March 3"}))
    for text in ("Spinal stenosis", "Prefers mornings", lead.contact.birth_date):
        assert text in page
        assert text in json.dumps(data)
    assert not re.search(r"<(script|style|link)", page)
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "contact.copy")).one()
    assert (entry.purpose, entry.object_id) == ("The person asked on March 3", lead.contact_id)


def test_the_mail_provider_is_asked_to_erase_too(database, app, redis, clock, tmp_path):
    with transaction():
        db.session.add(ProviderErasure(address="gone@example.com", at=time.now()))
    jobs.erase_at_provider()  # nobody answers
    assert db.session.scalar(select(Alert.key).where(Alert.closed_at.is_(None))) == "provider-erasure"
    settings = SandboxSettings(
        api_key="SG.right",
        signing_key_path=tmp_path / "key.pem",
        store_path=tmp_path / "mail.db",
        events=False,
    )
    kept = app.settings
    with SandboxServer(settings) as server:
        app.settings = replace(kept, sendgrid_api_key="SG.right", sendgrid_url=server.url)
        try:
            jobs.erase_at_provider()
        finally:
            app.settings = kept
    assert db.session.scalars(select(ProviderErasure)).all() == []
    assert db.session.scalar(select(Alert.key).where(Alert.closed_at.is_(None))) is None
