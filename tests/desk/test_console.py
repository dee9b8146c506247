"""Lead pages of the console."""

import html

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.consent import consent_texts
from crm.consent import service as consent
from crm.consent.models import Confirmation
from crm.contacts.rules import Person
from crm.core.db import db, transaction
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.messages.limits import switches
from crm.messages.models import Batch, SendingControl
from crm.sequences.models import EmailSequence, Enrolment
from crm.staff import alerts
from tests.support import factories as support_factories
from tests.support.browser_client import BrowserClient, signed_in
from tests.support.states import bring

PAGES = [
    "/console/leads", "/console/leads/search", "/console/leads/search?q=zz", "/console/sequences", "/console/mail",
    "/console/alerts", "/console/staff", "/console/account", "/console/settings", "/console/audit",
]  # fmt: skip
PERSON = Person(
    first_name="Ana",
    last_name="Ruiz",
    email="ana.ruiz@example.com",
    phone="+12135550142",
    language="es",
    time_zone="America/Denver",
    state="CO",
)


@pytest.fixture
def admin(client, database) -> BrowserClient:
    return signed_in(database, "admin")


@pytest.fixture
def lead(client) -> Lead:
    """A contact request of a person who opted in and entered the sequence."""
    with transaction():
        support_factories.shipped()
        request = ContactRequest(
            person=PERSON,
            source="form",
            message="My back hurts",
            wording=consent_texts.current("contact-form", "es"),
        )
        opened = intake.open_contact_request(request=request)
        consent.confirm(confirmation_id=db.session.scalars(select(Confirmation.id)).one())
    return db.session.get_one(Lead, opened.lead_id)


def text(answer) -> str:
    return " ".join(html.unescape(answer.text).split())


@pytest.mark.parametrize("address", PAGES)
def test_empty_pages(admin, address):
    assert admin.get(address).status_code == 200


@pytest.mark.parametrize("address", PAGES)
def test_pages_with_a_lead(lead, admin, address):
    assert admin.get(address).status_code == 200


def test_filters_as_tags(lead, admin):
    page = admin.get("/console/leads?stage=confirmed&owner=nobody")
    assert "Ana Ruiz" in page.text
    assert 'href="/console/leads?owner=nobody"' in page.text
    assert 'href="/console/leads?stage=confirmed"' in page.text
    assert "Ana Ruiz" not in admin.get("/console/leads?owner=me").text


@pytest.mark.parametrize("q", ["ana", "rui", "Ruiz, Ana", "ana.ruiz@example.com", "213 555 0142"])
def test_search_opens_single_result(lead, admin, q):
    answer = admin.get("/console/leads/search", query_string={"q": q})
    assert answer.location == f"/console/leads/{lead.reference}"
    assert admin.get("/console/leads/search", query_string={"q": lead.reference.lower()}).status_code == 302


def test_paging_both_ways(admin):
    with transaction():
        for number in range(120):
            person = Person(
                first_name="P", last_name=f"Nr{number}", email=f"p{number}@example.com", time_zone="UTC"
            )
            intake.open_contact_request(
                request=ContactRequest(person=person, source="api", message=str(number))
            )
    first = admin.get("/console/leads")
    second = admin.get(_link(first, "older"))
    third = admin.get(_link(second, "older"))
    assert [page.text.count("/console/leads/C-") for page in (first, second, third)] == [50, 50, 20]
    assert 'rel="next"' not in third.text
    back = admin.get(_link(third, "newer"))
    assert _names(back) == _names(second)
    assert _names(admin.get(_link(back, "newer"))) == _names(first)


def _link(page, which: str) -> str:
    return html.unescape(
        next(part.split('"')[0] for part in page.text.split('href="') if f"?{which}=" in part.split('"')[0])
    )


def _names(page) -> list[str]:
    return [part for part in page.text.split() if "/console/leads/C-" in part]


def test_timeline(lead, admin):
    with transaction():
        leads.add_note(lead_id=lead.id, text="Called, will think about it.")
        leads.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
    page = text(admin.get(f"/console/leads/{lead.reference}"))
    for line in (
        "Contact request received through the contact form", "Requested educational emails",
        "Opted in to educational emails",
        "Entered the sequence", "Email queued", "Called, will think about it.", "Moved from “confirmed” to “contacted”",
        "My back hurts", "Denver",
    ):  # fmt: skip
        assert line in page, line


def test_views_are_audited(lead, admin):
    admin.get(f"/console/leads/{lead.reference}")
    seen = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "lead.view")).one()
    assert (seen.object_id, seen.purpose) == (lead.id, "care")
    assert seen.actor.startswith("staff:")
    assert seen.ip_index is not None


def test_move(lead, admin):
    address = f"/console/leads/{lead.reference}"
    admin.get(address)
    answer = admin.post(f"{address}/stage", {"version": lead.version, "to": "lost", "reason": "cost"})
    assert answer.status_code == 302
    db.session.refresh(lead)
    assert (lead.stage, lead.reason) == ("lost", "cost")


def test_stale_move(lead, admin):
    address = f"/console/leads/{lead.reference}"
    admin.get(address)
    data = {"version": lead.version - 1, "to": "contacted"}
    answer = admin.post(f"{address}/stage", data, headers={"Referer": f"http://localhost{address}"})
    assert (answer.status_code, answer.location) == (302, f"http://localhost{address}")
    assert "This lead was changed in the meantime" in text(admin.get(address))
    assert admin.post(f"{address}/stage", data).status_code == 409


def test_empty_note(lead, admin):
    address = f"/console/leads/{lead.reference}"
    admin.get(address)
    answer = admin.post(f"{address}/notes", {"text": "   "})
    assert answer.status_code == 422
    assert 'href="#f-text"' in answer.text


def test_notes_owner_and_tasks(lead, admin):
    address = f"/console/leads/{lead.reference}"
    admin.get(address)
    assert admin.post(f"{address}/notes", {"text": "Left a message."}).status_code == 302
    me = db.session.scalars(select(AuditEntry.object_id).where(AuditEntry.action == "staff.sign_in")).one()
    assert admin.post(f"{address}/owner", {"version": lead.version, "owner": me}).status_code == 302
    with transaction():
        task = leads.add_task(lead_id=lead.id, kind="call", title="Call back", due_at=lead.created_at)
    assert "Call back" in admin.get(address).text
    assert admin.post(f"{address}/tasks/{task.id}/done").status_code == 302
    db.session.refresh(lead)
    assert (lead.owner_id, task.done_by) == (me, f"staff:{me}")


@pytest.mark.parametrize(
    ("role", "reads"), [("clinician", True), ("front_desk", True), ("marketer", False), ("viewer", False)]
)
def test_clinical_details_by_role(lead, database, role, reads):
    with transaction():
        lead.contact.birth_date = "1980-02-29"
        leads.add_note(lead_id=lead.id, text="Takes lithium.")
    page = signed_in(database, role).get(f"/console/leads/{lead.reference}").text
    for secret in ("My back hurts", "1980-02-29", "Takes lithium."):
        assert (secret in page) is reads


def test_clinical_stop(lead, admin):
    address = f"/console/leads/{lead.reference}"
    admin.get(address)
    admin.post(f"{address}/stop", {"reason": "in_crisis"})
    assert "A clinical stop is set" in text(admin.get(address))
    assert db.session.scalars(select(Enrolment.state)).one() == "exited"
    admin.post(f"{address}/lift-stop")
    assert "A clinical stop is set" not in text(admin.get(address))


def test_clinical_stop_by_role(lead, database):
    address = f"/console/leads/{lead.reference}"
    desk = signed_in(database, "front_desk")
    desk.get(address)
    assert desk.post(f"{address}/stop", {"reason": "because"}).status_code == 422
    assert desk.post(f"{address}/stop", {"reason": "pregnant"}).status_code == 302
    assert "reason: pregnant" in text(desk.get(address))
    assert desk.post(f"{address}/lift-stop").status_code == 403
    page = text(signed_in(database, "marketer").get(address))
    assert "Clinical stop set: no more emails" in page
    assert "pregnant" not in page
    clinician = signed_in(database, "clinician")
    clinician.get(address)
    assert clinician.post(f"{address}/lift-stop").status_code == 302


def test_sequence_progress_and_send_now(lead, admin, queued_jobs):
    sequence = db.session.scalars(select(EmailSequence).where(EmailSequence.topic == "prospect_edu")).one()
    address = f"/console/sequences/{sequence.id}"
    page = admin.get(address)
    assert "Ana Ruiz" in page.text
    enrolment = db.session.scalars(select(Enrolment)).one()
    assert admin.post(f"/console/sequences/enrolments/{enrolment.id}/send-next").status_code == 302
    assert any(job[0] == "sequences.plan" for job in queued_jobs())
    db.session.refresh(enrolment)
    assert enrolment.send_now
    assert admin.post(f"/console/sequences/enrolments/{enrolment.id}/take-out").status_code == 302
    db.session.refresh(enrolment)
    assert enrolment.state == "exited"


def test_pause_and_resume(lead, admin):
    sequence = db.session.scalars(select(EmailSequence).where(EmailSequence.topic == "prospect_edu")).one()
    address = f"/console/sequences/{sequence.id}"
    admin.get(address)
    admin.post(f"{address}/pause")
    assert "no emails are sent" in text(admin.get(address))
    assert db.session.scalars(select(Enrolment.state)).one() == "paused"
    admin.post(f"{address}/resume")
    assert db.session.scalars(select(Enrolment.state)).one() == "active"


@pytest.mark.parametrize(("decision", "state"), [("again", "ready"), ("sent", "accepted")])
def test_decide_unconfirmed_batch(lead, admin, decision, state):
    with transaction():
        batch = db.session.scalars(select(Batch).where(Batch.transport != "none").limit(1)).one()
        bring("batch", "uncertain", where=f"id = {batch.id}")
        db.session.refresh(batch)
        batch.state_at = lead.created_at.replace(year=2020)
    assert f'value="{batch.id}"' in admin.get("/console/mail").text
    assert admin.post("/console/mail/decide", {"batch": [batch.id], "decision": decision}).status_code == 302
    db.session.refresh(batch)
    assert batch.state == state
    assert admin.get(f"/console/mail/{batch.id}").status_code == 200


def test_decide_without_selection(admin):
    admin.get("/console/mail")
    answer = admin.post("/console/mail/decide", {"decision": "again"})
    assert answer.status_code == 422
    assert "Select at least one row" in answer.text


def test_kill_switch_banner(admin):
    admin.get("/console/mail")
    assert admin.post("/console/mail/stop", {"reason": "x" * 201}).status_code == 422
    assert admin.post("/console/mail/stop", {"reason": "Wrong phone number in email 3"}).status_code == 302
    assert db.session.scalars(select(SendingControl.stopped_by)).one() == "Admin"
    for address in PAGES:
        assert "All sending is stopped: Wrong phone number in email 3" in text(admin.get(address))
    admin.post("/console/mail/release")
    assert "All sending is stopped" not in text(admin.get("/console/leads"))


def test_release_stopped_stream(admin):
    with transaction():
        switches.stop_stream("prospect_edu", reason="too many bounces")
    assert "was stopped automatically" in text(admin.get("/console/mail"))
    admin.post("/console/mail/streams/prospect_edu/resume")
    assert "was stopped automatically" not in text(admin.get("/console/mail"))


def test_alerts(admin):
    with transaction():
        alert_id = alerts.raise_alert(key="x", level="danger", text="Look at this")
    assert "Look at this" in admin.get("/console/alerts").text
    admin.post(f"/console/alerts/{alert_id}/take")
    assert "Admin" in admin.get("/console/alerts").text
    admin.post(f"/console/alerts/{alert_id}/close")
    assert "No open alerts" in admin.get("/console/alerts").text
    assert admin.post(f"/console/alerts/{alert_id}/close").status_code == 409


def test_audit_log(lead, admin):
    page = text(admin.get("/console/audit?action=lead.&object_id=" + str(lead.id)))
    assert "lead.open" in page
    assert "staff.sign_in" not in page.split("Entries, newest first")[1]
    assert "audit.view" in admin.get("/console/audit").text
    admin.get("/console/audit?cursor=nonsense&since=yesterday&object_id=x")
    assert "nothing was changed" in text(admin.post("/console/audit/check"))
