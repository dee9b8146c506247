"""The list of contacts and the page of one person."""

import html
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.consent import consent_texts
from crm.consent import service as consent
from crm.consent.models import Confirmation
from crm.contacts import service as contacts
from crm.contacts.models import Contact, Tag
from crm.contacts.rules import Person
from crm.core import clock as core_clock
from crm.core.db import db, transaction
from crm.desk.models import SavedFilter
from crm.desk.people import contact_search
from crm.desk.people.contact_search import ContactFilter
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads.models import Lead
from tests.support import factories
from tests.support.browser_client import signed_in

ANA = Person(
    first_name="Ana",
    last_name="Ruiz",
    email="ana.ruiz@example.com",
    phone="+12135550142",
    language="es",
    time_zone="America/Denver",
    state="CO",
)


@pytest.fixture
def desk(client, database):
    return signed_in(database, "front_desk")


@pytest.fixture
def people(client):
    """Ana asked and agreed; Bo (older) has no lead; Cy (newest) is tagged and has a closed lead."""
    with transaction():
        factories.shipped()
        bo = factories.contact(
            "bo@example.com",
            first_name="Bo",
            last_name="Adams",
            created_at=core_clock.now() - timedelta(days=9),
        )
        wording = consent_texts.current("contact-form", "es")
        ana = intake.open_contact_request(
            request=ContactRequest(person=ANA, source="form", message="My back", wording=wording)
        )
        consent.confirm(confirmation_id=db.session.scalars(select(Confirmation.id)).one())
        cy = intake.open_contact_request(
            request=ContactRequest(
                person=replace(ANA, first_name="Cy", email="cy@example.com", phone=None, language="en"),
                source="api",
            )
        )
        contacts.add_tag(contact_id=cy.contact_id, tag="vip")
        db.session.get_one(Lead, cy.lead_id).closed_at = core_clock.now()
    return {"ana": ana.contact_id, "bo": bo.id, "cy": cy.contact_id}


def text(answer):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def names(people, **wanted):
    by_id = {number: name for name, number in people.items()}
    return " ".join(
        by_id[row.contact.id] for row in contact_search.find_contacts(ContactFilter(**wanted)).rows
    )


TODAY = "2026-03-03"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "cy ana bo"),
        ({"sort": "oldest"}, "bo ana cy"),
        ({"sort": "name"}, "bo ana cy"),
        ({"q": "ruiz"}, "cy ana"),
        ({"q": "ruiz", "language": "es"}, "ana"),
        ({"q": "zz"}, ""),
        ({"consent": "prospect_edu"}, "ana"),
        ({"consent": "out"}, ""),
        ({"consent": "none"}, "cy bo"),
        ({"tag": "vip"}, "cy"),
        ({"tag": "vip", "consent": "prospect_edu"}, ""),
        ({"language": "es"}, "ana"),
        ({"state": "CO"}, "cy ana"),
        ({"state": "CO", "language": "en"}, "cy"),
        ({"source": "form"}, "ana"),
        ({"leads": "none"}, "bo"),
        ({"leads": "open"}, "ana"),
        ({"leads": "ended"}, "cy"),
        ({"sort": "name", "leads": "open"}, "ana"),
    ],
)
def test_filters(people, clock, wanted, expected):
    assert names(people, **wanted) == expected


def test_days_are_those_of_the_clinic(people):
    added = db.session.get_one(Contact, people["bo"]).created_at.date()
    assert names(people, added_to=added) == "bo"
    assert names(people, added_from=added + timedelta(days=1)) == "cy ana"
    assert names(people, added_from=added + timedelta(days=1), tag="vip") == "cy"


@pytest.mark.parametrize(
    "wanted", [{}, {"sort": "oldest"}, {"sort": "name"}, {"language": "en"}, {"tag": "many"}]
)
def test_pages_hold_everybody_once(client, monkeypatch, wanted):
    with transaction():
        ids = factories.many_contacts(23, at=core_clock.now())
        for one in ids:
            contacts.add_tag(contact_id=one, tag="many")
    seen, cursor = [], None
    while True:
        page = contact_search.find_contacts(ContactFilter(**wanted), cursor=cursor, limit=5)
        seen += [row.contact.id for row in page.rows]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)


def test_bounded_reads_continue(client, monkeypatch):
    monkeypatch.setattr(contact_search, "LOOKED_AT", 10)
    with transaction():
        ids = factories.many_contacts(25, at=core_clock.now())
        contacts.add_tag(contact_id=ids[2], tag="rare")
    found, cursor, pages = [], None, 0
    while True:
        page = contact_search.find_contacts(
            ContactFilter(leads="none", language="en", state="", consent="none", sort="name"), cursor=cursor
        )
        found += [row.contact.id for row in page.rows]
        cursor, pages = page.next, pages + 1
        if cursor is None:
            break
        assert page.looked_at == 10
    assert (sorted(found), pages) == (sorted(ids), 3)


def test_list_and_audit(desk, people):
    page = text(desk.get("/console/contacts"))
    assert "Ana Ruiz" in page
    assert "Bo Adams" in page
    assert "vip" in page
    assert "Opted in" in page
    assert "No lead" in page
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "contact.list")).one()
    assert entry.detail == {"ids": [people["cy"], people["ana"], people["bo"]], "filters": {}}
    page = desk.get("/console/contacts?q=ana&tag=none-such").text
    assert "No contacts match these filters" in page
    audited = db.session.scalars(
        select(AuditEntry.detail).where(AuditEntry.action == "contact.list").order_by(AuditEntry.id)
    ).all()
    assert audited[-1]["filters"] == {"q": "*", "tag": "none-such"}


@pytest.mark.parametrize("query", ["added_from=soon", "consent=maybe", "leads=x", "sort=mood", "cursor=xx"])
def test_odd_filters_are_refused(desk, people, query):
    assert desk.get(f"/console/contacts?{query}").status_code == 422


def test_marketers_see_numbers_in_place_of_people(client, database, people):
    visitor = signed_in(database, "marketer")
    for address in (
        "/console/contacts",
        "/console/contacts?q=ana&sort=name",
        f"/console/contacts/{people['ana']}",
    ):
        page = visitor.get(address)
        assert page.status_code == 200
        for secret in ("Ana", "Ruiz", "ana.ruiz", "555-0142", "2135550142", "Bo Adams"):
            assert secret not in page.text, (address, secret)
        assert f"Contact {people['ana']}" in page.text
    assert signed_in(database, "viewer").get("/console/contacts").status_code == 403


def test_page_of_a_person_without_a_lead(desk, people):
    page = text(desk.get(f"/console/contacts/{people['bo']}"))
    assert "Bo Adams" in page
    assert "This person has no lead." in page
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "contact.view")).one()
    assert (entry.object_id, entry.purpose) == (people["bo"], "care")


def test_page_shows_leads_and_evidence(desk, people):
    page = text(desk.get(f"/console/contacts/{people['ana']}"))
    lead = db.session.scalars(select(Lead.reference).where(Lead.contact_id == people["ana"])).one()
    assert lead in page
    assert "Requested educational emails; confirmation email sent" in page
    assert "contact-form/" in page
    assert desk.get(f"/console/contacts/{people['ana']}?show=mood").status_code == 422
    assert desk.get("/console/contacts/999999").status_code == 404


def test_a_merged_record_leads_to_the_one_that_is_left(desk, people):
    with transaction():
        db.session.get_one(Contact, people["cy"]).merged_into_id = people["ana"]
    answer = desk.get(f"/console/contacts/{people['cy']}")
    assert (answer.status_code, answer.location) == (302, f"/console/contacts/{people['ana']}")
    assert names(people) == "ana bo"


def test_found_by_every_search(desk, people):
    answer = desk.get("/console/leads/search?q=adams")
    assert answer.location == f"/console/contacts/{people['bo']}"
    with transaction():
        factories.contact("bea@example.com", first_name="Bea", last_name="Adams")
    assert "Contacts without a lead" in desk.get("/console/leads/search?q=adams").text


def test_saved_views(desk, people):
    saved = {"name": "VIP in Spanish", "tag": "vip", "language": "es", "q": "ana", "shared": "yes"}
    desk.post("/console/contacts/filters", saved)
    kept = db.session.scalars(select(SavedFilter)).one()
    assert (kept.list, kept.filters, kept.shared) == ("contacts", {"tag": "vip", "language": "es"}, True)
    assert "VIP in Spanish" in desk.get("/console/contacts").text
    assert "VIP in Spanish" not in desk.get("/console/leads").text
    desk.post(f"/console/contacts/filters/{kept.id}/remove")
    assert db.session.scalars(select(SavedFilter)).all() == []


def tagged(tag):
    return set(db.session.scalars(select(Tag.contact_id).where(Tag.tag == tag)))


def test_tag_many_and_undo(desk, people):
    desk.get("/console/contacts")
    picked = [people["ana"], people["bo"]]
    desk.post("/console/contacts/tags", {"tag": "Spring", "do": "add", "pick": picked})
    assert tagged("spring") == set(picked)
    page = desk.get("/console/contacts")
    undo = re.search(r"/console/contacts/tags/undo/\d+", page.text)[0]
    assert desk.post(undo).status_code == 302
    assert tagged("spring") == set()
    desk.post("/console/contacts/tags", {"tag": "Spring", "do": "add", "all": "yes", "state": "CO"})
    assert tagged("spring") == {people["ana"], people["cy"]}
    desk.post("/console/contacts/tags", {"tag": "Spring", "do": "remove", "pick": [people["cy"]]})
    assert tagged("spring") == {people["ana"]}


@pytest.mark.parametrize("form", [{"tag": "x"}, {"tag": "", "pick": "ana"}, {"tag": "x", "all": "yes"}])
def test_tagging_is_refused(desk, people, monkeypatch, form):
    monkeypatch.setattr("crm.desk.people.console_contacts.MOST", 2)
    desk.get("/console/contacts")
    sent = form | ({"pick": people["ana"]} if "pick" in form else {})
    assert desk.post("/console/contacts/tags", sent).status_code == 422
