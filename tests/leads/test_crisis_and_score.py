"""Words that cannot wait, and a score that shows its parts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sqlalchemy import select

from crm.contacts.rules import Person
from crm.core.db import db
from crm.intake import crisis
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads.scoring import LeadFacts, score
from crm.staff.models import Alert

NOW = datetime(2026, 3, 3, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "I want to die", "I'm SUICIDAL and in pain", "thinking of killing myself", "I can’t go on like this",
        "they'd be better off without me", "I don't want to live", "I overdosed last week", "self-harm",
        "Quiero morirme", "pienso en el suicidio", "no quiero vivir así", "he pensado en hacerme daño", "No puedo más",
    ],
)  # fmt: skip
def test_words_that_cannot_wait(text):
    assert crisis.mentions_crisis(text)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "My back hurts", "Please call me after five", "The pain is killing my back", "I cut the lawn myself",
        "Me duele la espalda", "Quiero una cita", "I would like to live without pain",
    ],
)  # fmt: skip
def test_words_that_can(text):
    assert not crisis.mentions_crisis(text)


def ask(message, email="ana@example.com"):
    who = Person(first_name="Ana", last_name="Ruiz", email=email, time_zone="UTC")
    return intake.open_contact_request(request=ContactRequest(person=who, source="form", message=message))


def test_a_crisis_raises_an_alert(edge, clock):
    ask("My back hurts", "other@example.com")
    opened = ask("I want to die")
    [alert] = db.session.scalars(select(Alert)).all()
    assert (alert.level, alert.key) == ("danger", f"crisis:{opened.lead_id}")
    assert opened.reference in alert.text
    assert "die" not in alert.text


PLAIN = LeadFacts(
    kind="contact_request", urgency=None, created_at=NOW - timedelta(days=5), has_phone=False, has_email=True, has_message=False,
    heard_from=None, has_consent=False, reached=False, attempts=0, booked=False, missed=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "total"),
    [
        ({}, 5), ({"kind": "referral", "urgency": "urgent"}, 50), ({"heard_from": "friend"}, 15), ({"heard_from": "search"}, 5),
        ({"kind": "referral", "heard_from": "doctor"}, 35), ({"has_message": True, "has_phone": True}, 25),
        ({"has_consent": True}, 20), ({"reached": True, "attempts": 5}, 20), ({"booked": True}, 25),
        ({"created_at": NOW}, 15), ({"created_at": NOW - timedelta(days=31)}, 0), ({"missed": True}, 0),
        ({"attempts": 3, "has_phone": True}, 0),
    ],
)  # fmt: skip
def test_what_gives_points(change, total):
    assert score(replace(PLAIN, **change), now=NOW).total == total


@given(
    some.builds(
        LeadFacts,
        kind=some.sampled_from(["contact_request", "referral"]),
        urgency=some.sampled_from([None, "routine", "urgent"]),
        created_at=some.datetimes(datetime(2025, 1, 1), datetime(2026, 3, 3), timezones=some.just(UTC)),
        heard_from=some.sampled_from([None, "doctor", "friend", "search"]),
        attempts=some.integers(0, 9),
    )
)
def test_the_sum_is_the_sum_of_its_parts(known):
    found = score(known, now=NOW)
    assert found.total == max(0, min(100, sum(part.points for part in found.parts)))
    assert len({part.why for part in found.parts}) == len(found.parts)
