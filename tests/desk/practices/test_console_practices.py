"""Practices: the list, the page, editing, merging, notes, visits, tasks."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.contacts.rules import Person
from crm.core import clock as core_clock
from crm.core.db import db, transaction
from crm.desk.practices import practice_numbers
from crm.intake import service as intake
from crm.intake.service import NewReferral
from crm.leads import service as leads
from crm.leads.models import Lead, Referral, StageMove
from crm.portal.models import PortalMessage
from crm.referrers import accounts, practices
from crm.referrers.models import Clinician, PortalPerson, Practice, PracticeNote, PracticeTask
from crm.referrers.service import Sender
from tests.support.browser_client import signed_in

NORA = Sender(clinician="Nora Field", npi="1234567893", practice="Family Medicine", phone="+13105550100")
PAUL = Sender(clinician="Paul Moss", npi="1245319599", practice="Family Medicine PC", phone="+13105550100")
FIELDS = {"name": "Family Medicine", "language": "en", "phone": "(310) 555-0100"}


@pytest.fixture
def desk(client, database):
    visitor = signed_in(database, "front_desk")
    visitor.get("/console/referrers/")
    return visitor


def refer(sender, number, **values):
    person = Person(
        first_name=f"Pat{'abcdefgh'[number]}", last_name="Ruiz", phone=f"+1213555014{number}", time_zone="UTC"
    )
    return intake.open_referral(
        referral=NewReferral(person=person, sender=sender, source="fax", sent_at=core_clock.now(), **values)
    )


@pytest.fixture
def practice(client):
    """A practice with three referrals: one new, one accepted, one seen after two days."""
    with transaction():
        opened = [refer(NORA, number) for number in range(3)]
        for lead_id, stages in (
            (opened[1].lead_id, ["accepted"]),
            (opened[2].lead_id, ["accepted", "scheduled", "seen"]),
        ):
            for days, stage in enumerate(stages):
                at = core_clock.now() + timedelta(days=days + 1)
                db.session.add(StageMove(lead_id=lead_id, was="received", now=stage, actor="staff:1", at=at))
    return db.session.scalars(select(Practice)).one()


def fresh(practice):
    return db.session.get_one(Practice, practice.id, populate_existing=True)


def test_numbers(practice):
    found = practice_numbers.numbers_of(practice.id)
    assert (found.total, found.accepted, found.scheduled, found.attended) == (3, 2, 1, 1)
    assert round(found.median_days) == 2
    assert sum(part.points for part in found.score()) == 9 + 13 + 10 + 18
    assert practice_numbers.numbers_of(0).score() == []


def test_page(desk, practice):
    page = desk.get(f"/console/referrers/{practice.id}").text
    for shown in ("Pata Ruiz", "Nora Field", "3 referrals", "Score: 50 of 100", "(310) 555-0100"):
        assert shown in page, shown


def test_marketers_see_no_patients(client, database, practice):
    visitor = signed_in(database, "marketer")
    page = visitor.get(f"/console/referrers/{practice.id}").text
    assert "Pata" not in page
    assert db.session.scalars(select(Lead.reference)).first() in page
    assert "Edit practice" not in page
    assert visitor.post(f"/console/referrers/{practice.id}/edit", FIELDS).status_code == 403
    assert signed_in(database, "viewer").get(f"/console/referrers/{practice.id}").status_code == 403


def test_referrals_page_by_page(practice, monkeypatch):
    monkeypatch.setattr(practice_numbers, "PAGE", 2)
    first = practice_numbers.referrals_of(practice.id)
    second = practice_numbers.referrals_of(practice.id, cursor=first.next)
    assert ([lead.contact.first_name for lead in (*first.rows, *second.rows)], second.next) == (
        ["Patc", "Patb", "Pata"],
        None,
    )


def test_messages_of_its_referrals(desk, practice):
    lead = db.session.scalars(select(Lead)).first()
    with transaction():
        message = PortalMessage(
            lead_id=lead.id, from_clinic=False, actor="referrer:1", text="Secret words", at=core_clock.now()
        )
        db.session.add(message)
    page = desk.get(f"/console/referrers/{practice.id}").text
    assert f"/console/referrers/referrals/{lead.reference}" in page
    assert "Secret words" not in page
    assert practice_numbers.numbers_of(practice.id).last_contact == message.at


@pytest.mark.parametrize("typed", ["medicine", "fam med", "field", "1234567893", "FÁMILY"])
def test_found_by_search(desk, practice, typed):
    assert "Family Medicine" in desk.get(f"/console/referrers/?q={typed}").text
    assert practice_numbers.find_practices("dermatology").rows == []


def test_search_everywhere_names_practices(desk, practice):
    assert "Practices:" in desk.get("/console/leads/search?q=family").text


def test_add(desk):
    form = FIELDS | {
        "fax": "3105550101",
        "address": "1 Main St",
        "city": "Reno",
        "state": "NV",
        "language": "es",
    }
    answer = desk.post("/console/referrers/new", form)
    made = db.session.scalars(select(Practice)).one()
    assert answer.location == f"/console/referrers/{made.id}"
    assert (made.fax, made.address, made.language, made.approved_at is not None) == (
        "+13105550101", "1 Main St", "es", True,
    )  # fmt: skip
    assert desk.post("/console/referrers/new", {"name": "", "language": "en"}).status_code == 422


def test_edit_undo_and_lock(desk, practice):
    sent = FIELDS | {"name": "Family Care", "version": fresh(practice).version}
    desk.post(f"/console/referrers/{practice.id}/edit", sent)
    assert fresh(practice).name == "Family Care"
    page = desk.get(f"/console/referrers/{practice.id}").text
    assert desk.post(f"/console/referrers/{practice.id}/edit", sent | {"name": "X"}).status_code == 409
    desk.post(re.search(rf"/console/referrers/{practice.id}/undo/\d+", page)[0])
    assert fresh(practice).name == "Family Medicine"
    wrong = desk.post(f"/console/referrers/{practice.id}/edit", sent | {"phone": "12"})
    assert wrong.status_code == 422
    assert 'href="#p-phone"' in wrong.text


def test_clinicians(desk, practice):
    address = f"/console/referrers/{practice.id}/clinicians"
    desk.post(address, {"clinician_name": "Paul Moss", "npi": "1245319599"})
    paul = db.session.scalars(select(Clinician).where(Clinician.name == "Paul Moss")).one()
    desk.post(address, {"clinician_name": "Paula Moss", "npi": "1245319599", "clinician": paul.id})
    assert db.session.get_one(Clinician, paul.id, populate_existing=True).name == "Paula Moss"
    assert desk.post(address, {"clinician_name": "P", "npi": "1234567890"}).status_code == 422
    taken = desk.post(address, {"clinician_name": "P", "npi": "1234567893"})
    assert taken.status_code == 409
    assert "belongs to Nora Field" in taken.text
    other = practices.add(values={"name": "Other", "language": "en"})
    elsewhere = f"/console/referrers/{other.id}/clinicians"
    sent = {"clinician_name": "P", "npi": "1245319599", "clinician": paul.id}
    assert desk.post(elsewhere, sent).status_code == 404


def test_merge_and_undo(desk, practice):
    with transaction():
        refer(PAUL, 3)
        gone = db.session.scalars(select(Practice).where(Practice.name == PAUL.practice)).one()
        accounts.invite(practice_id=gone.id, name="Ann", email="ann@practice.example", zone="UTC")
        practices.add_note(practice_id=gone.id, kind="visit", text="Lunch")
        gone.fax = "+13105550109"
    desk.post(f"/console/referrers/{practice.id}/merge", {"gone": gone.id})
    homes = (Referral.practice_id, Clinician.practice_id, PortalPerson.practice_id, PracticeNote.practice_id)
    assert [set(db.session.scalars(select(home))) for home in homes] == [{practice.id}] * 4
    assert fresh(practice).fax == "+13105550109"
    assert desk.get(f"/console/referrers/{gone.id}").location == f"/console/referrers/{practice.id}"
    page = desk.get(f"/console/referrers/{practice.id}").text
    desk.post(re.search(rf"/console/referrers/{practice.id}/undo/\d+", page)[0])
    assert [set(db.session.scalars(select(home))) for home in homes[2:]] == [{gone.id}] * 2
    assert (fresh(practice).fax, fresh(gone).merged_into_id) == (None, None)


def test_merge_is_refused(desk, practice):
    with transaction():
        refer(PAUL, 3, external_id="MRN-1")
        refer(NORA, 4, external_id="MRN-1")
        gone = db.session.scalars(select(Practice).where(Practice.name == PAUL.practice)).one()
    assert desk.post(f"/console/referrers/{practice.id}/merge", {"gone": gone.id}).status_code == 409
    assert desk.post(f"/console/referrers/{practice.id}/merge", {"gone": practice.id}).status_code == 422


def test_notes_visits_and_tasks(client, database, practice):
    visitor = signed_in(database, "marketer")
    visitor.get("/console/account")
    address = f"/console/referrers/{practice.id}"
    visitor.post(f"{address}/notes", {"kind": "visit", "text": "Brought posters", "day": "2026-01-05"})
    due = (core_clock.now() + timedelta(days=3)).strftime("%Y-%m-%dT10:00")
    visitor.post(f"{address}/tasks", {"title": "Call Nora", "due_at": due})
    page = visitor.get(address).text
    assert "Brought posters" in page
    assert "Call Nora" in page
    task = db.session.scalars(select(PracticeTask)).one()
    visitor.post(f"{address}/tasks/{task.id}/done")
    assert visitor.post(f"{address}/tasks/{task.id}/done").status_code == 409
    assert practice_numbers.numbers_of(practice.id).last_contact is not None
    raw = db.session.scalar(select(PracticeNote.text))
    assert raw == "Brought posters"


@pytest.mark.parametrize(
    ("what", "form", "field"),
    [
        ("notes", {"kind": "note", "text": " "}, "text"),
        ("notes", {"kind": "dance", "text": "x"}, "kind"),
        ("notes", {"kind": "visit", "text": "x", "day": "2066-01-01"}, "day"),
        ("tasks", {"title": "", "due_at": "2026-03-09T10:00"}, "title"),
        ("tasks", {"title": "x", "due_at": "soon"}, "due_at"),
        ("tasks", {"title": "x", "due_at": "2001-03-09T10:00"}, "due_at"),
        ("tasks", {"title": "x", "due_at": "2026-03-09T10:00", "task_owner": "99"}, "task_owner"),
    ],
)
def test_what_is_wrong(client, database, practice, clock, what, form, field):
    desk = signed_in(database, "front_desk")
    desk.get("/console/account")
    answer = desk.post(f"/console/referrers/{practice.id}/{what}", form)
    assert answer.status_code == 422
    assert f'id="f-{field}-error"' in answer.text


def test_a_lead_names_its_practice(desk, practice):
    reference = leads.get(db.session.scalars(select(Lead.id)).first()).reference
    assert f"/console/referrers/{practice.id}" in desk.get(f"/console/leads/{reference}").text
