"""Outcomes of past consultations: asked for on the next open morning, once, and settled by the stage."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.consultations import outcomes
from crm.consultations import service as consultations
from crm.core.db import db
from crm.desk import worklists
from crm.leads.models import Task
from tests.consultations.test_service import SOON, book
from tests.leads.test_service import lead, move  # noqa: F401 - fixture

DAY = timedelta(days=1)


@pytest.fixture
def past(lead, clock):  # noqa: F811
    """A lead whose consultation was yesterday, on the morning after it."""
    move(lead, "contacted")
    book(lead)
    clock.move_to(SOON + timedelta(hours=3))
    assert outcomes.ask_for_outcomes() == 0
    clock.move_to(SOON + DAY - timedelta(hours=6))  # at night
    assert outcomes.ask_for_outcomes() == 0
    clock.move_to(SOON + DAY)
    return lead


def asked(of):
    rows = select(Task.done_at.is_(None)).where(Task.lead_id == of.id, Task.kind == outcomes.TASK)
    return list(db.session.scalars(rows.order_by(Task.id)))


def listed():
    return [one.id for one in worklists.load_list("outcome", me=0).rows]


def test_asked_once(past):
    assert (outcomes.ask_for_outcomes(), outcomes.ask_for_outcomes()) == (1, 0)
    assert (asked(past), listed()) == ([True], [past.id])


@pytest.mark.parametrize("state", ["attended", "no_show", "cancelled"])
def test_settled_by_the_outcome(past, state):
    outcomes.ask_for_outcomes()
    booked = consultations.booked_consultation(past.id)
    consultations.finish(consultation_id=booked.id, state=state, version=past.version)
    assert (asked(past), listed(), outcomes.ask_for_outcomes()) == ([False], [], 0)


def test_moved_consultation_asks_again_later(past, clock):
    outcomes.ask_for_outcomes()
    booked = consultations.booked_consultation(past.id)
    consultations.rebook(consultation_id=booked.id, starts_at=SOON + 4 * DAY)
    assert (asked(past), listed()) == ([False], [])
    clock.move_to(SOON + 5 * DAY)
    assert (outcomes.ask_for_outcomes(), asked(past)) == (1, [False, True])


def test_task_done_without_outcome_is_not_asked_again(past):
    outcomes.ask_for_outcomes()
    db.session.scalars(select(Task).where(Task.kind == outcomes.TASK)).one().done_at = SOON + DAY
    db.session.flush()
    assert (outcomes.ask_for_outcomes(), listed()) == (0, [past.id])
