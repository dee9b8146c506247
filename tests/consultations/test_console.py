"""Consultation pages: calendar, lists, absences, calendar address."""

import re

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.consultations import queries, rooms
from crm.consultations import service as consultations
from crm.core.db import db, transaction
from crm.leads import service
from tests.consultations.test_service import HOUR, SOON
from tests.desk.test_console_work import desk, new_lead  # noqa: F401 - fixture
from tests.support.browser_client import member


def booked(number=0, at=SOON, **more):
    made = new_lead(number)
    with transaction():
        lead = service.get(made.id)
        consultations.book(lead_id=lead.id, version=lead.version, starts_at=at, confirmed=True, **more)
    return made


def text_of(answer):
    return re.sub(r"<[^>]+>|\s+", " ", answer.text)


@pytest.fixture
def doctor(desk):  # noqa: F811
    return member("clinician", name="Dr. Ada")


def test_calendar(desk, doctor):  # noqa: F811
    mine, other = booked(1, clinician_id=doctor.id), booked(2, SOON + HOUR)
    week = desk.get("/console/consultations?day=2026-03-05")
    assert mine.reference in week.text
    assert "10:00 AM · 60 min · Dr. Ada" in re.sub(" +", " ", text_of(week))
    day = desk.get(f"/console/consultations?view=day&day=2026-03-05&who={doctor.id}")
    assert mine.reference in day.text
    assert other.reference not in day.text
    assert mine.reference not in desk.get("/console/consultations?day=2026-03-12").text
    ids = db.session.scalars(
        select(AuditEntry).where(AuditEntry.action == "consultation.calendar").order_by(AuditEntry.id)
    ).first()
    assert ids.detail["ids"] == [mine.id, other.id]


@pytest.mark.parametrize("query", ["view=year", "day=soon", "day=0001-01-01", "who=x", "room=x"])
def test_calendar_refuses(desk, query):  # noqa: F811
    assert desk.get(f"/console/consultations?{query}").status_code == 422


def test_lists(desk, doctor, clock):  # noqa: F811
    first, second = booked(1, clinician_id=doctor.id), booked(2, SOON + HOUR)

    def shown(query):
        page = desk.get(f"/console/consultations/list?{query}").text
        return [one.id for one in (first, second) if f"/console/leads/{one.reference}" in page]

    assert shown("") == [first.id, second.id]
    assert (shown(f"who={doctor.id}"), shown("who=nobody")) == ([first.id], [second.id])
    clock.move_to(SOON + 2 * HOUR)
    made = consultations.booked_consultation(first.id)
    with transaction():
        consultations.finish(consultation_id=made.id, state="no_show", version=first.version)
    assert queries.load_list("coming").rows == []
    assert [one.lead_id for one in queries.load_list("outcome").rows] == [second.id]
    assert [one.lead_id for one in queries.load_list("no_show").rows] == [first.id]
    assert desk.get("/console/consultations/list?list=none").status_code in (302, 422)


def test_paging(desk):  # noqa: F811
    leads = [booked(number, SOON + number * HOUR) for number in range(3)]
    seen, cursor = [], None
    while True:
        part = queries.load_list("all", cursor=cursor, limit=1)
        seen += [one.lead_id for one in part.rows]
        cursor = part.next
        if cursor is None:
            break
    assert seen == [lead.id for lead in reversed(leads)]


def test_second_word(desk, doctor):  # noqa: F811
    booked(1, clinician_id=doctor.id)
    lead = new_lead(2)
    address = f"/console/leads/{lead.reference}"
    assert "Book a time" in desk.get(address).text
    given = {"version": str(lead.version), "starts_at": "2026-03-05T10:30", "clinician": str(doctor.id)}
    refused = desk.post(f"{address}/consultations", given)
    assert refused.status_code == 422
    assert "Another consultation with Dr. Ada is at 10:00 AM, for 60 minutes." in refused.text
    assert "Book anyway" in refused.text
    assert desk.post(f"{address}/consultations", given | {"confirmed": "yes"}).status_code == 302


def test_room(desk, doctor):  # noqa: F811
    with transaction():
        room = rooms.add("Room A")
    lead, other = new_lead(2), booked(1, SOON + HOUR)
    address = f"/console/leads/{lead.reference}"
    given = {"version": str(lead.version), "starts_at": "2026-03-05T10:00", "clinician": str(doctor.id)}
    assert desk.post(f"{address}/consultations", given | {"room": str(room.id)}).status_code == 302
    assert "Dr. Ada · Room A" in re.sub(" +", " ", text_of(desk.get(address)))
    for page in ("/console/consultations?day=2026-03-05", "/console/consultations/list?list=coming"):
        shown = desk.get(f"{page}&room={room.id}").text
        assert (lead.reference in shown, other.reference in shown) == (True, False)
    made = consultations.booked_consultation(lead.id)
    moved = desk.post(
        f"{address}/consultations/{made.id}/time",
        {"starts_at": "2026-03-05T10:00", "room": "", "clinician": ""},
    )
    assert moved.status_code == 302
    made = consultations.booked_consultation(lead.id)
    assert (made.room, made.clinician) == (None, None)


def test_absences_and_address(desk, client, doctor):  # noqa: F811
    page = "/console/consultations/setup"
    assert "No absences are noted" in desk.get(page).text
    given = {"user": str(doctor.id), "first_day": "2026-03-05"}
    assert desk.post("/console/consultations/absences", {"user": "", "first_day": ""}).status_code == 422
    assert desk.post("/console/consultations/absences", given).status_code == 302
    assert "Absent: Dr. Ada" in desk.get("/console/consultations?day=2026-03-05").text
    [absence] = queries.absences(SOON.date())
    desk.post(f"/console/consultations/absences/{absence.id}/remove")
    assert queries.absences(SOON.date()) == []
    lead = booked(1)
    desk.post("/console/consultations/feed", {"everyone": "yes"})
    address = re.search(r"/calendar/[\w-]+\.ics", desk.get(page).text)[0]
    answer = client.get(address)
    assert (answer.mimetype, answer.headers["Cache-Control"]) == ("text/calendar", "no-store")
    assert f"SUMMARY:Consultation {lead.reference}" in answer.text
    assert lead.contact.first_name not in answer.text
    desk.post("/console/consultations/feed/end")
    assert client.get(address).status_code == 404
