"""Round-robin assignment of new leads."""

import pytest

from crm.contacts.rules import Person
from crm.core.db import db
from crm.core.errors import Invalid
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import assignment, service
from crm.leads.models import Lead
from tests.leads.test_service import lead, move, referral, user  # noqa: F401 - fixtures


def new_lead(number: int, language: str = "en") -> Lead:
    who = Person(
        first_name="P", last_name=f"N{number}", email=f"p{number}@example.com", time_zone="UTC", language=language
    )  # fmt: skip
    return service.get(intake.open_contact_request(request=ContactRequest(person=who, source="form")).lead_id)


def test_round_robin(edge, clock):
    one, two, away = user(name="one"), user(name="two"), user(name="away")
    for person in (one, two, away):
        assignment.set_assignee(user_id=person.id, on_duty=person is not away)
    owners = []
    for number in range(4):
        clock.shift(60)
        owners.append(new_lead(number).owner_id)
    assert owners == [one.id, two.id, one.id, two.id]


def test_language_then_capacity(edge, clock):
    anyone, spanish = user(name="one"), user(name="two")
    assignment.set_assignee(user_id=anyone.id, capacity=1)
    assignment.set_assignee(user_id=spanish.id, languages=["es"], capacity=2)
    given = [
        new_lead(number, language).owner_id for number, language in enumerate(["es", "es", "es", "en", "es"])
    ]
    assert given == [spanish.id, spanish.id, anyone.id, None, None]


def test_no_assignees(edge, clock):
    assert new_lead(1).owner_id is None
    gone = user(name="one")
    assignment.set_assignee(user_id=gone.id)
    gone.active = False
    db.session.flush()
    assert new_lead(2).owner_id is None
    assignment.remove_assignee(user_id=gone.id)
    assert assignment.assignees() == []


def test_invalid_assignees(edge, clock):
    sam = user()
    for wrong in ({"user_id": 0}, {"languages": ["fr"]}, {"capacity": 0}, {"capacity": 10_001}):
        with pytest.raises(Invalid):
            assignment.set_assignee(**{"user_id": sam.id, **wrong})


def test_only_staff_who_may_work_leads(edge, clock):
    viewer, desk = user(name="one", role="viewer"), user(name="two")
    with pytest.raises(Invalid):
        assignment.set_assignee(user_id=viewer.id)
    assignment.set_assignee(user_id=desk.id)
    desk.roles = viewer.roles
    db.session.flush()
    assert new_lead(1).owner_id is None
