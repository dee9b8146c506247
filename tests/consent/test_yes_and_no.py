"""Asking, saying yes, saying no, taking it back."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from crm import events
from crm.consent import queries, service, wordings
from crm.consent.events import (
    AddressesSuppressed,
    ConfirmationAsked,
    ConsentGiven,
    ConsentRestored,
    ConsentWithdrawn,
)
from crm.consent.models import Confirmation, ConsentRecord, ConsentState, Suppression
from crm.contacts.addresses import address_index
from crm.db import db
from crm.errors import Conflict, Invalid, NotFound
from tests.conftest import NOW
from tests.consent.makers import person

EDU = "prospect_edu"


@pytest.fixture(autouse=True)
def _still(clock):
    """Time stands still."""


@pytest.fixture
def told(app):
    """Every event of consent, as it was published."""
    seen = []
    kinds = (AddressesSuppressed, ConfirmationAsked, ConsentGiven, ConsentRestored, ConsentWithdrawn)
    kept = events._table
    events.route({kind: [seen.append] for kind in kinds})
    yield seen
    events.route(kept)


def ask(contact, *, topics=(EDU,), kind=service.CONFIRMATION, key="contact-form"):
    return service.ask(
        contact=contact,
        topics=topics,
        kind=kind,
        wording=wordings.current(key, "en"),
        language="en",
        source="form",
    )


def say_yes(contact, *, topics=(EDU,)):
    question = ask(contact, topics=topics)
    return service.confirm(confirmation_id=question.id)


def why_not(contact, topic=EDU, *, transactional=False):
    from crm import clock as time

    return queries.refusal(contact_id=contact.id, topic=topic, transactional=transactional, now=time.now())


def ledger(contact):
    rows = db.session.scalars(
        select(ConsentRecord).where(ConsentRecord.contact_id == contact.id).order_by(ConsentRecord.id)
    )
    return [(row.action, row.topic, row.source) for row in rows]


def test_only_the_persons_own_yes_counts(edge, told):
    jane = person()
    question = ask(jane)
    assert why_not(jane) == "no_consent"
    assert told == [
        ConfirmationAsked(confirmation_id=question.id, contact_id=jane.id, kind="confirmation", language="en")
    ]
    service.confirm(confirmation_id=question.id)
    assert why_not(jane) is None
    granted = db.session.scalars(select(ConsentRecord).where(ConsentRecord.action == "granted")).one()
    assert told[1:] == [ConsentGiven(contact_id=jane.id, topic=EDU, record_id=granted.id)]
    assert granted.wording == "contact-form/1"
    assert granted.wording_hash == wordings.current("contact-form", "en").hash
    assert granted.covers_collecting and not granted.covers_sharing
    assert ledger(jane) == [("requested", EDU, "form"), ("granted", EDU, "confirm_link")]
