"""Call log, unreachable leads, assignment by turns, mentions."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from crm.audit import service as audit
from crm.contacts.models import Activity
from crm.contacts.rules import Person
from crm.core.db import db
from crm.core.errors import Conflict, Invalid
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import assignment, call_log, contact_attempts, mentions, service
from crm.leads.contact_attempts import Attempt
from crm.leads.models import Lead, Task
from tests.leads.test_service import lead, move, referral, user  # noqa: F401 - fixtures

NOW = datetime(2026, 3, 10, 17, tzinfo=UTC)
DAY = timedelta(days=1)


def tried(*marks: str) -> list[Attempt]:
    """("7 phone", "3 letter reached"): days ago, way, outcome."""
    return [
        Attempt(at=NOW - int(days) * DAY, channel=way, outcome=(rest or ["no_answer"])[0])
        for days, way, *rest in (mark.split() for mark in marks)
    ]


@pytest.mark.parametrize(
    ("made", "missing"),
    [
        ((), ["3 attempts (so far 0)", "2 channels", "7 days"]),
        (("8 phone", "5 letter"), ["3 attempts (so far 2)"]),
        (("8 phone", "5 phone", "1 phone"), ["2 channels"]),
        (("6 phone", "5 letter", "1 phone"), ["7 days"]),
        (("7 phone", "5 letter", "0 phone"), []),
        (
            ("9 phone", "8 letter", "7 phone reached", "1 phone"),
            ["3 attempts (so far 1)", "2 channels", "7 days"],
        ),
    ],
)
def test_when_enough_was_tried(made, missing):
    why = contact_attempts.missing_attempts(tried(*made), now=NOW) or ""
    assert [word for word in ("3 attempts", "2 channels", "7 days") if word in why] == [
        word for word in ("3 attempts", "2 channels", "7 days") if any(word in part for part in missing)
    ]
    assert all(part in why for part in missing)


def log(lead, outcome="no_answer", channel="phone", **more):  # noqa: F811
    with audit.acting("staff:7"):
        return call_log.log_call(lead_id=lead.id, channel=channel, outcome=outcome, **more)


def test_an_attempt_in_vain_counts_and_gives_another_day(lead, clock):  # noqa: F811
    clock.shift(1800)
    log(lead, note=" Rang long. ")
    assert (lead.attempts, lead.stage) == (1, "new")
    assert lead.first_human_touch_at == lead.last_attempt_at == lead.created_at + timedelta(minutes=30)
    assert lead.due_at == lead.last_attempt_at + DAY
    line = db.session.scalars(select(Activity).where(Activity.kind == "called")).one()
    assert (line.text, line.detail["attempt"]) == ("Rang long.", 1)


@pytest.mark.parametrize("outcome", sorted(contact_attempts.REACHED))
def test_reaching_the_person_moves_a_new_lead(lead, outcome):  # noqa: F811
    log(lead, outcome)
    assert (lead.stage, lead.attempts) == ("contacted", 1)
    log(lead, outcome)
    assert (lead.stage, lead.attempts) == ("contacted", 2)


def test_calling_back_is_a_task(lead):  # noqa: F811
    when = lead.created_at + DAY
    log(lead, "callback", call_again_at=when)
    task = db.session.scalars(select(Task)).one()
    assert (task.kind, task.due_at) == ("call", when)


def test_what_cannot_be_logged(lead):  # noqa: F811
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


def test_nobody_is_given_up_too_early(referral, lead, clock):  # noqa: F811
    move(referral, "accepted", "contacting")
    for way in ("phone", "letter", "phone"):
        log(referral, channel=way)
    with pytest.raises(Conflict, match="7 days since"):
        move(referral, "unable_to_reach:no_answer")
    with pytest.raises(Conflict, match="3 attempts"):
        move(lead, "lost:no_answer")
    clock.shift(7 * 24 * 3600)
    move(referral, "unable_to_reach:no_answer")
    assert referral.stage == "unable_to_reach"


def test_a_wrong_number_was_found_out_by_trying(lead):  # noqa: F811
    with pytest.raises(Conflict, match="First log the attempt"):
        move(lead, "lost:wrong_number")
    log(lead, "wrong_number")
    move(lead, "lost:wrong_number")
    assert lead.stage == "lost"


def new_lead(number: int, language: str = "en") -> Lead:
    who = Person(
        first_name="P", last_name=f"N{number}", email=f"p{number}@example.com", time_zone="UTC", language=language
    )  # fmt: skip
    return service.get(intake.open_contact_request(request=ContactRequest(person=who, source="form")).lead_id)


def test_new_leads_go_round(edge, clock):
    one, two, away = user(name="one"), user(name="two"), user(name="away")
    for person in (one, two, away):
        assignment.set_assignee(user_id=person.id, on_duty=person is not away)
    owners = []
    for number in range(4):
        clock.shift(60)
        owners.append(new_lead(number).owner_id)
    assert owners == [one.id, two.id, one.id, two.id]


def test_language_first_then_room(edge, clock):
    anyone, spanish = user(name="one"), user(name="two")
    assignment.set_assignee(user_id=anyone.id, capacity=1)
    assignment.set_assignee(user_id=spanish.id, languages=["es"], capacity=2)
    given = [
        new_lead(number, language).owner_id for number, language in enumerate(["es", "es", "es", "en", "es"])
    ]
    assert given == [spanish.id, spanish.id, anyone.id, None, None]


def test_nobody_takes_leads(edge, clock):
    assert new_lead(1).owner_id is None
    gone = user(name="one")
    assignment.set_assignee(user_id=gone.id)
    gone.active = False
    db.session.flush()
    assert new_lead(2).owner_id is None
    assignment.remove_assignee(user_id=gone.id)
    assert assignment.assignees() == []


def test_who_cannot_take_leads(edge, clock):
    sam = user()
    for wrong in ({"user_id": 0}, {"languages": ["fr"]}, {"capacity": 0}, {"capacity": 10_001}):
        with pytest.raises(Invalid):
            assignment.set_assignee(**{"user_id": sam.id, **wrong})


def test_naming_a_colleague_puts_the_lead_on_their_list(lead):  # noqa: F811
    sam, jo = (
        user(name="Sam Jones", email="sj@clinic.example"),
        user(name="Zoë Díaz", email="zoe@clinic.example"),
    )
    service.add_note(lead_id=lead.id, text="@sam please call. @zoe.diaz knows her. Mail sam@example.com")
    tasks = db.session.scalars(select(Task).where(Task.kind == "mention").order_by(Task.owner_id)).all()
    assert [task.owner_id for task in tasks] == sorted([sam.id, jo.id])


def test_a_name_two_people_share_names_nobody(edge, clock):
    people = [user(name="Sam Jones", email="sj@c.example"), user(name="Sam Smith", email="ss@c.example")]
    assert mentions.mentioned_people("@sam", people) == []
    assert mentions.mentioned_people("@SS.", people) == [people[1]]
    assert mentions.mentioned_people("write to x@sam.example, @nobody", people) == []
