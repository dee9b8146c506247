"""Call log: attempts and the stage moves that follow."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.audit import service as audit
from crm.contacts.models import Activity
from crm.core.db import db
from crm.core.errors import Conflict, Invalid
from crm.leads import call_log, contact_attempts
from crm.leads.models import Task
from tests.leads.test_service import NOW, lead, move, referral, user  # noqa: F401 - fixtures

DAY = timedelta(days=1)


def log(lead, outcome="no_answer", channel="phone", **more):  # noqa: F811
    with audit.acting("staff:7"):
        return call_log.log_call(lead_id=lead.id, channel=channel, outcome=outcome, **more)


def test_attempt_without_contact_extends_deadline(lead, clock):  # noqa: F811
    clock.shift(1800)
    log(lead, note=" Rang long. ")
    assert (lead.attempts, lead.stage) == (1, "new")
    assert lead.first_human_touch_at == lead.last_attempt_at == lead.created_at + timedelta(minutes=30)
    assert lead.due_at == lead.last_attempt_at + DAY
    line = db.session.scalars(select(Activity).where(Activity.kind == "called")).one()
    assert (line.text, line.detail["attempt"]) == ("Rang long.", 1)


@pytest.mark.parametrize("outcome", sorted(contact_attempts.REACHED))
def test_contact_moves_a_new_lead(lead, outcome):  # noqa: F811
    log(lead, outcome)
    assert (lead.stage, lead.attempts) == ("contacted", 1)
    log(lead, outcome)
    assert (lead.stage, lead.attempts) == ("contacted", 2)


def test_callback_adds_a_task(lead):  # noqa: F811
    when = lead.created_at + DAY
    log(lead, "callback", call_again_at=when)
    task = db.session.scalars(select(Task)).one()
    assert (task.kind, task.due_at) == ("callback", when)


def test_invalid_attempts(lead):  # noqa: F811
    for wrong in (
        {"channel": "pigeon"}, {"outcome": "maybe"}, {"note": "x" * 2001}, {"note": "a\0b"},
        {"call_again_at": lead.created_at}, {"call_again_at": lead.created_at + 400 * DAY},
    ):  # fmt: skip
        with pytest.raises(Invalid):
            log(lead, **wrong)
    move(lead, "lost:cost")
    with pytest.raises(Conflict):
        log(lead)
    assert lead.attempts == 0


def test_call_counts_as_contact(lead):  # noqa: F811
    call_log.log_call(lead_id=lead.id, channel="phone", outcome="no_answer")
    db.session.refresh(lead.contact)
    assert lead.contact.touched_at == NOW
