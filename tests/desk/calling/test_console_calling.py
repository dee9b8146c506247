"""Calling pages: lead, call, outcome, next; a counter; booked in the call."""

import re

import pytest
from sqlalchemy import select

from crm.core.db import db, transaction
from crm.desk.calling import claims
from crm.leads import crisis
from crm.leads.models import Call, Lead, Task
from tests.desk.test_console_work import _me, desk, new_lead  # noqa: F401 - fixture

PAGE = "/console/leads/calling"


def current_lead(desk):  # noqa: F811
    claim = claims.claim_of(_me("front_desk"))
    return claim and claim.lead_id


def test_calls_one_after_the_other(desk, clock):  # noqa: F811
    first, second = new_lead(1, last_name="One"), new_lead(2, last_name="Two")
    start = desk.get(PAGE).text
    assert start.index(first.reference) < start.index(second.reference)
    assert "New request, received" in start
    desk.post(f"{PAGE}/start")
    page = desk.get(PAGE).text
    assert "Ana One" in page
    assert "New request, received" in page
    assert 'data-key="1"' in page
    answer = desk.post(f"{PAGE}/log", {"outcome": "no_answer"})
    assert answer.location == PAGE
    assert current_lead(desk) == second.id
    page = desk.get(PAGE).text
    assert "Ana Two" in page
    assert "1 attempt logged" in page
    undo = re.search(r'action="([^"]+/undo/\d+[^"]*)"', page)[1].replace("&amp;", "&")
    assert desk.post(undo).location == PAGE
    assert db.session.scalars(select(Call)).all() == []


def test_reached_is_booked_in_the_call(desk, clock):  # noqa: F811
    lead = new_lead(1)
    new_lead(2)
    desk.post(f"{PAGE}/start")
    desk.get(PAGE)
    desk.post(f"{PAGE}/log", {"outcome": "reached", "note": "Wants Thursday"})
    assert current_lead(desk) == lead.id
    page = desk.get(PAGE).text
    assert "Book a consultation now" in page
    version = re.search(r'name="version" value="(\d+)"', page)[1]
    given = {"version": version, "starts_at": "2026-03-05T10:00", "back": PAGE}
    assert desk.post(f"/console/leads/{lead.reference}/consultations", given).location == PAGE
    assert "A consultation is booked." in desk.get(PAGE).text
    assert db.session.get_one(Lead, lead.id, populate_existing=True).stage == "consult_scheduled"


def test_call_again_and_skip(desk, clock):  # noqa: F811
    first, second = new_lead(1), new_lead(2)
    desk.post(f"{PAGE}/start")
    desk.get(PAGE)
    given = {"outcome": "no_answer", "call_again_at": "2026-03-03T11:00"}
    desk.post(f"{PAGE}/log", given)
    task = db.session.scalars(select(Task).where(Task.lead_id == first.id)).one()
    assert (task.kind, task.due_at.hour) == ("callback", 19)
    assert current_lead(desk) == second.id
    desk.post(f"{PAGE}/next")
    assert current_lead(desk) is None
    assert "There is no one else to call" in desk.get(PAGE).text
    desk.post(f"{PAGE}/start")
    assert current_lead(desk) == second.id
    assert "0 attempts logged" in desk.get(desk.post(f"{PAGE}/stop").location).text
    assert current_lead(desk) is None


@pytest.mark.parametrize(
    "given", [{"outcome": "x"}, {"outcome": "callback", "call_again_at": "2020-01-01T10:00"}]
)
def test_log_refuses(desk, clock, given):  # noqa: F811
    new_lead(1)
    desk.post(f"{PAGE}/start")
    desk.get(PAGE)
    assert desk.post(f"{PAGE}/log", given).status_code == 422
    assert db.session.scalars(select(Call)).all() == []


def test_claim_that_ended_logs_nothing(desk, clock):  # noqa: F811
    new_lead(1)
    desk.post(f"{PAGE}/start")
    desk.get(PAGE)
    with transaction():
        claims.release(_me("front_desk"))
    answer = desk.post(f"{PAGE}/log", {"outcome": "no_answer"})
    assert "Your time for this lead is over" in desk.get(answer.location).text
    assert db.session.scalars(select(Call)).all() == []


def test_crisis_first(desk, clock):  # noqa: F811
    lead = new_lead(1)
    new_lead(2)
    with transaction():
        crisis.alert_if_crisis("I want to kill myself", lead_id=lead.id, reference=lead.reference)
    assert f"Open {lead.reference}" in desk.get(PAGE).text
    assert "Crisis: act first" in desk.get("/console/leads/work").text
