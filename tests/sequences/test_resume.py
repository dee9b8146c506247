"""A person who undoes an opt-out at once resumes where they were."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.consent import service as consent
from crm.core import clock as time
from crm.core.db import db
from crm.sequences import service
from crm.sequences.models import EmailSequence, Enrolment
from tests.consent.factories import person

TOPIC = "prospect_edu"


@pytest.fixture
def jane(edge, clock, redis):
    """A person three days into the first sequence."""
    service.load_shipped(live=True)
    contact = person()
    consent.set_topics(contact_id=contact.id, topics=[TOPIC], language="en")
    clock.shift(timedelta(days=3))
    db.session.execute(text("update enrolment set step = 1, anchor_at = :now"), {"now": time.now()})
    db.session.expire_all()
    return contact


def enrolment():
    db.session.flush()
    db.session.expire_all()
    return db.session.scalars(select(Enrolment)).one()


def test_they_go_on_where_they_were(jane, clock):
    consent.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert (enrolment().state, enrolment().reason) == ("exited", "opted_out")
    clock.shift(60)
    consent.undo_withdraw(contact_id=jane.id)
    back = enrolment()
    assert (back.state, back.step, back.reason, back.left_at) == ("active", 1, None, None)
    assert back.due_at > time.now()
    assert back.consent_record_id == db.session.scalar(
        text("select record_id from consent_state where granted and contact_id = :id"), {"id": jane.id}
    )


def test_a_paused_sequence_stays_paused(jane, clock):
    consent.withdraw(contact_id=jane.id, topic=None, source="one_click")
    service.pause(
        db.session.scalar(
            select(EmailSequence.id).where(EmailSequence.topic == TOPIC, EmailSequence.state == "live")
        )
    )
    consent.undo_withdraw(contact_id=jane.id)
    back = enrolment()
    assert (back.state, back.due_at) == ("paused", None)
    assert back.paused_left > 0


def test_other_exits_are_not_resumed(jane, clock):
    service.remove(enrolment().id)
    clock.shift(60)
    consent.withdraw(contact_id=jane.id, topic=None, source="one_click")
    consent.undo_withdraw(contact_id=jane.id)
    assert (enrolment().state, enrolment().reason) == ("exited", "staff")
