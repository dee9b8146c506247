"""Front desk pages: work lists, calls, tasks, consultations, assignment."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.consultations import service as consultations
from crm.consultations.models import Consultation
from crm.contacts.rules import Person
from crm.core.db import db, transaction
from crm.desk import worklists
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import service
from crm.leads.models import Call, Lead
from crm.staff.models import User
from tests.intake.test_service import refer
from tests.support.browser_client import BrowserClient, member, signed_in


def new_lead(number: int = 0, **values) -> Lead:
    person = Person(
        **{
            "first_name": "Ana",
            "last_name": f"N{number}",
            "email": f"p{number}@example.com",
            "phone": f"+1213555{number:04}",
            "time_zone": "America/Los_Angeles",
            **values,
        }
    )
    with transaction():
        opened = intake.open_contact_request(request=ContactRequest(person=person, source="form"))
    return db.session.get_one(Lead, opened.lead_id)


@pytest.fixture
def desk(client, database, clock) -> BrowserClient:
    return signed_in(database, "front_desk")


def shown(desk, name: str) -> set[str]:
    page = desk.get(f"/console/leads/work?list={name}").text
    return {part[:8] for part in page.split("/console/leads/")[1:] if part[:2] in ("C-", "R-")}


def test_front_desk_home(desk):
    assert desk.get("/console/").status_code == 200
    assert desk.get("/console/leads/work").status_code == 200
    assert desk.get("/console/leads/work?list=nothing").status_code == 422


def test_work_lists(desk, clock):
    fresh = new_lead(1)
    asleep = new_lead(2, time_zone="Pacific/Honolulu")  # seven in the morning there
    no_phone = new_lead(3, phone=None)
    with transaction():
        waits = service.get(refer().lead_id)
        service.move_stage(lead_id=waits.id, version=waits.version, to="info_requested", reason="other")
        service.assign(lead_id=no_phone.id, version=no_phone.version, owner_id=_me("front_desk"))
    assert shown(desk, "call_now") == {fresh.reference}
    assert shown(desk, "overdue") == set()
    assert shown(desk, "waiting") == {waits.reference}
    assert shown(desk, "mine") == {no_phone.reference}
    assert shown(desk, "unassigned") == {fresh.reference, asleep.reference, waits.reference}
    clock.shift(2 * 3600)
    desk.sign_in(db.session.get_one(User, _me("front_desk")))  # away for so long, one signs in again
    assert shown(desk, "overdue") == {fresh.reference, asleep.reference, no_phone.reference}
    assert shown(desk, "stale") == set()
    with transaction():
        rows = db.session.scalars(select(Lead)).all()
        for row in rows:
            row.stage_at -= timedelta(days=15)
    assert len(shown(desk, "stale")) == 4


def _me(role: str) -> int:
    return db.session.execute(
        db.text('select id from "user" where email = :e'), {"e": f"{role}@clinic.example"}
    ).scalar_one()


def test_recent_calls_are_left_out(desk, clock):
    lead = new_lead(1)
    desk.get(f"/console/leads/{lead.reference}")
    answer = desk.post(f"/console/leads/{lead.reference}/calls", {"channel": "phone", "outcome": "no_answer"})
    assert answer.status_code == 302
    desk.get("/console/leads/work")  # shows the notice with its way to undo
    assert shown(desk, "call_now") == set()
    clock.shift(3 * 3600 + 1)
    desk.sign_in(db.session.get_one(User, _me("front_desk")))
    assert shown(desk, "call_now") == {lead.reference}


@pytest.mark.parametrize(
    "address", ["/console/leads/work", "/console/leads/work?list=overdue", "/console/leads/tasks?who=all"]
)
def test_statement_count(desk, clock, statements, address):
    def some(numbers):
        for number in numbers:
            lead = new_lead(number)
            with transaction():
                service.add_task(lead_id=lead.id, kind="other", title="Do", due_at=lead.due_at)
        clock.shift(3600)

    some([1])
    desk.get(address)
    with statements() as one:
        desk.get(address)
    some([2, 3])
    db.session.expire_all()
    with statements() as three:
        desk.get(address)
    assert one.total == three.total <= 14


def test_paging(desk, clock):
    for number in range(5):
        new_lead(number)
        clock.shift(1)
    seen, cursor = [], None
    while True:
        part = worklists.load_list("unassigned", me=0, cursor=cursor, limit=2)
        seen += [lead.contact.last_name for lead in part.rows]
        cursor = part.next
        if cursor is None:
            break
    assert seen == ["N0", "N1", "N2", "N3", "N4"]
    assert desk.get("/console/leads/work?cursor=zzz").status_code == 422


def test_counts_stop_at_99(desk, monkeypatch):
    monkeypatch.setattr(worklists, "COUNTED", 2)
    for number in range(3):
        new_lead(number)
    assert worklists.list_counts(me=0)["unassigned"] == "1+"


def test_work_on_a_lead(desk, clock):
    lead = new_lead(1)
    address = f"/console/leads/{lead.reference}"
    desk.get(address)
    desk.post(
        f"{address}/calls",
        {"channel": "phone", "outcome": "reached", "note": "Nice talk", "call_again_at": "2026-03-04T10:00"},
    )
    assert db.session.scalars(select(Call)).one().note == "Nice talk"
    answer = desk.post(
        f"{address}/consultations",
        {"version": lead.version, "starts_at": "2026-03-05T10:00", "minutes": "45"},
    )
    assert answer.status_code == 302
    made = db.session.scalars(select(Consultation)).one()
    assert (made.starts_at.hour, made.minutes, lead.stage) == (18, 45, "consult_scheduled")
    page = desk.get(address).text
    assert "Consultation booked" in page
    assert "Phone call: spoke to the person (attempt 1)" in page
    calendar = desk.get(f"{address}/consultations/{made.id}.ics")
    assert (calendar.mimetype, "DTSTART:20260305T180000Z" in calendar.text) == ("text/calendar", True)
    desk.post(f"{address}/consultations/{made.id}/time", {"starts_at": "2026-03-05T11:00"})
    clock.move_to(made.starts_at + timedelta(hours=1))
    desk = desk.sign_in(member("clinician"))
    assert lead.reference in desk.get("/console/leads/work?list=today").text
    desk.get(address)
    now = consultations.booked_consultation(lead.id)
    desk.post(f"{address}/consultations/{now.id}/state", {"version": lead.version, "state": "attended"})
    assert lead.stage == "consult_done"


@pytest.mark.parametrize(
    ("where", "data", "says"),
    [
        ("calls", {"channel": "phone"}, "Choose an outcome"),
        (
            "calls",
            {"channel": "phone", "outcome": "reached", "call_again_at": "soon"},
            "Enter a day and a time",
        ),
        ("tasks", {"title": "X", "due_at": "2020-01-01T10:00"}, "Choose a time within the next year"),
        ("tasks", {"title": "", "due_at": "2026-03-04T10:00"}, "Enter a title"),
        ("tasks", {"title": "X", "due_at": "2026-03-04T10:00", "task_owner": "0"}, "Staff member not found"),
        ("tasks", {"title": "X", "due_at": "2026-03-04T10:00+00:00"}, "without a time zone"),
        ("consultations", {"starts_at": "2026-03-07T10:00", "version": "1"}, "closed on that day"),
        ("consultations", {"starts_at": "2026-03-05T10:00", "minutes": "x"}, "whole number"),
    ],
)
def test_errors_keep_input(desk, where, data, says):
    lead = new_lead(1)
    desk.get(f"/console/leads/{lead.reference}")
    answer = desk.post(f"/console/leads/{lead.reference}/{where}", data)
    assert answer.status_code == 422
    assert says in answer.text
    assert lead.stage == "new"


def test_assignment_rules(client, database, clock):
    admin = signed_in(database, "admin")
    assert admin.get("/console/leads/turns").status_code == 200
    mine = _me("admin")
    wrong = admin.post(f"/console/leads/turns/{mine}", {"takes": "yes", "capacity": "0"})
    assert wrong.status_code == 422
    admin.post(f"/console/leads/turns/{mine}", {"takes": "yes", "capacity": "5", "languages": "en"})
    assert new_lead(1).owner_id == mine
    admin.post(f"/console/leads/turns/{mine}")
    assert new_lead(2).owner_id is None


def test_timeline_filter_and_print(desk):
    lead = new_lead(1, state="CA")
    with transaction():
        service.add_note(lead_id=lead.id, text="Prefers mornings")
    address = f"/console/leads/{lead.reference}"
    assert "Prefers mornings" in desk.get(f"{address}?show=words").text
    assert "Prefers mornings" not in desk.get(f"{address}?show=steps").text
    assert desk.get(f"{address}?show=x").status_code == 422
    assert "Prefers mornings" in desk.get(f"{address}/print").text
    seen = set(db.session.scalars(select(AuditEntry.action).where(AuditEntry.object_id == lead.id)))
    assert {"lead.view", "lead.print"} <= seen


def test_attribution(desk):
    lead, again = new_lead(1), new_lead(2)
    lead.first_touch, again.first_touch = {"utm_source": "poster"}, {"utm_source": "search"}
    again.contact_id = lead.contact_id
    db.session.flush()
    page = desk.get(f"/console/leads/{lead.reference}").text
    assert page.index("First attribution") < page.index("poster") < page.index("Last attribution")
    assert page.index("Last attribution") < page.index(">search<")


def test_mentions_show_on_every_page(desk):
    lead = new_lead(1)
    other = signed_in(desk.client.application, "clinician")
    assert "open tasks" not in other.get("/console/leads").text
    desk.get(f"/console/leads/{lead.reference}")
    desk.post(f"/console/leads/{lead.reference}/notes", {"text": "@clinician, please look"})
    assert "open tasks" in other.get("/console/leads").text
    assert "You were mentioned in a note" in other.get("/console/leads/tasks").text


def test_undo_on_the_page(desk):
    lead = new_lead(1)
    answer = desk.post(f"/console/leads/{lead.reference}/stage", {"version": lead.version, "to": "contacted"})
    page = desk.get(answer.location).text
    assert "Moved to “contacted”." in page
    undo = re.search(r'action="([^"]+/undo/\d+[^"]*)"', page)[1].replace("&amp;", "&")
    assert "Undone." in desk.get(desk.post(undo).location).text
    assert db.session.get_one(Lead, lead.id, populate_existing=True).stage == "new"
