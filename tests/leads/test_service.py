"""Lead work: stages, owner, notes, tasks, outcome."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from crm.audit import service as audit
from crm.contacts.models import Activity
from crm.contacts.rules import Person
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import service
from crm.leads.models import Lead, StageMove, Task
from crm.staff.models import Role, User
from tests.intake.test_service import refer

NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)


@pytest.fixture
def lead(edge, clock):
    who = Person(first_name="Ana", last_name="Ruiz", email="ana@example.com", time_zone="UTC")
    return service.get(intake.open_contact_request(request=ContactRequest(person=who, source="form")).lead_id)


@pytest.fixture
def referral(edge, clock):
    return service.get(refer().lead_id)


def move(lead, *stages):
    for stage in stages:
        stage, _, reason = stage.partition(":")
        service.move_stage(lead_id=lead.id, version=lead.version, to=stage, reason=reason or None)


def lines(kind):
    return db.session.scalars(select(Activity).where(Activity.kind == kind).order_by(Activity.id)).all()


def test_move_stage(lead, clock):
    clock.shift(60)
    with audit.acting("staff:7"):
        service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
    assert (lead.stage, lead.version, lead.stage_at) == ("contacted", 2, NOW + timedelta(minutes=1))
    assert lead.first_human_touch_at == lead.stage_at
    assert lead.due_at == lead.stage_at + timedelta(days=2)
    moves = db.session.execute(
        select(StageMove.was, StageMove.now, StageMove.actor).order_by(StageMove.id)
    ).all()
    assert [tuple(row) for row in moves] == [(None, "new", "system"), ("new", "contacted", "staff:7")]
    assert lines("stage_moved")[0].detail == {"was": "new", "now": "contacted", "reason": None}


def test_close_and_reopen(lead):
    move(lead, "lost:cost")
    assert (lead.reason, lead.closed_at, lead.due_at) == ("cost", NOW, None)
    move(lead, "contacted")
    assert (lead.reason, lead.closed_at) == (None, None)


def test_move_not_allowed(lead):
    with pytest.raises(Conflict, match="cannot go from"):
        move(lead, "patient")
    assert lead.stage == "new"


def test_stale_version(lead):
    old = lead.version
    move(lead, "contacted")
    for late in (
        lambda: service.move_stage(lead_id=lead.id, version=old, to="spam"),
        lambda: service.assign(lead_id=lead.id, version=old, owner_id=None),
    ):
        with pytest.raises(Conflict, match="Review it and try again"):
            late()


def test_concurrent_moves_of_one_version(lead):
    """Both pass the first look; the version in the database decides."""
    db.session.execute(
        update(Lead)
        .where(Lead.id == lead.id)
        .values(version=Lead.version + 1)
        .execution_options(synchronize_session=False)
    )
    with pytest.raises(Conflict, match="Review it and try again"):
        service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
    db.session.rollback()


def test_close_referral_after_outcome(referral):
    move(referral, "accepted", "scheduled", "seen")
    with pytest.raises(Conflict, match="outcome"):
        move(referral, "report_sent")
    send_outcome(referral)
    send_outcome(referral)
    move(referral, "report_sent", "closed")
    assert referral.closed_at is not None
    assert [line.detail for line in lines("outcome_sent")] == [{"what": "report", "how": "fax"}]


def send_outcome(referral, what="report", how="fax"):
    service.record_outcome_sent(lead_id=referral.id, what=what, how=how)


@pytest.mark.parametrize("stages", [(), ("accepted",), ("accepted", "scheduled"), ("duplicate",)])
def test_no_outcome_without_one(referral, stages):
    move(referral, *stages)
    with pytest.raises(Conflict, match="no outcome yet"):
        send_outcome(referral)


@pytest.mark.parametrize("wrong", [{"what": "poem"}, {"how": "pigeon"}])
def test_outcome_says_what_and_how(referral, wrong):
    move(referral, "declined:capacity")
    with pytest.raises(Invalid) as error:
        send_outcome(referral, **wrong)
    assert list(error.value.fields) == list(wrong)


def test_practice_reads_no_outcome_at_another_stage(referral):
    move(referral, "declined:capacity")
    send_outcome(referral, what="declined")
    assert referral.referral.outcome_known_at == referral.referral.outcome_sent_at
    referral.stage = "scheduled"
    assert referral.referral.outcome_known_at is None


def test_reopening_voids_outcome(referral):
    move(referral, "declined:capacity")
    send_outcome(referral, what="declined")
    move(referral, "in_review", "declined:insurance")
    with pytest.raises(Conflict, match="outcome"):
        move(referral, "closed")


def test_contact_request_has_no_outcome(lead):
    with pytest.raises(Conflict):
        send_outcome(lead)


def test_confirmation_confirms_waiting_requests(lead, clock):
    other = service.get(
        intake.open_contact_request(
            request=ContactRequest(
                person=Person(first_name="Ana", last_name="Ruiz", email="ana@example.com", time_zone="UTC"),
                source="form",
                message="Second",
            )
        ).lead_id
    )
    move(other, "contacted")
    service.confirm_contact_requests(contact_id=lead.contact_id)
    service.confirm_contact_requests(contact_id=lead.contact_id)
    assert (lead.stage, other.stage) == ("confirmed", "contacted")


def user(role="front_desk", **values):
    made = User(
        email=f"{values.get('name', 'sam')}@clinic.example",
        name="Sam",
        fs_uniquifier=values.get("name", "u"),
        created_at=NOW,
        active=True,
    )
    for name, value in values.items():
        setattr(made, name, value)
    made.roles = [db.session.scalar(select(Role).where(Role.name == role)) or Role(name=role)]
    db.session.add(made)
    db.session.flush()
    return made


def test_assign(lead):
    sam = user()
    service.assign(lead_id=lead.id, version=lead.version, owner_id=sam.id)
    assert lead.owner is sam
    service.assign(lead_id=lead.id, version=lead.version, owner_id=None)
    assert lead.owner is None
    assert [line.detail for line in lines("assigned")] == [{"owner_id": sam.id}, {"owner_id": None}]


@pytest.mark.parametrize("values", [{"active": False}, {"practice_id": 1}, {"role": "viewer"}])
def test_invalid_owners(lead, values):
    with pytest.raises(Invalid):
        service.assign(lead_id=lead.id, version=lead.version, owner_id=user(**values).id)
    with pytest.raises(Invalid):
        service.assign(lead_id=lead.id, version=lead.version, owner_id=0)


def test_notes(lead):
    service.add_note(lead_id=lead.id, text=" Called, no answer. ")
    assert [line.text for line in lines("note")] == ["Called, no answer."]
    for wrong in ("", "  ", "x" * 4001, "a\0b"):
        with pytest.raises(Invalid):
            service.add_note(lead_id=lead.id, text=wrong)


def test_tasks(lead, clock):
    task = service.add_task(lead_id=lead.id, kind="call", title="Call back", due_at=NOW)
    clock.shift(60)
    with audit.acting("staff:7"):
        service.finish_task(task_id=task.id)
    db.session.flush()
    db.session.expire_all()
    assert (task.done_by, lead.first_human_touch_at) == ("staff:7", NOW + timedelta(minutes=1))
    with pytest.raises(Conflict, match="already done"):
        service.finish_task(task_id=task.id)
    with pytest.raises(NotFound):
        service.finish_task(task_id=0)
    for title in ("", "x" * 121):
        with pytest.raises(Invalid):
            service.add_task(lead_id=lead.id, kind="call", title=title, due_at=NOW)
    assert len(db.session.scalars(select(Task)).all()) == 1


def test_get_and_not_found(lead):
    assert service.by_reference(f" {lead.reference.lower()} ") is lead
    for look in (
        lambda: service.get(0),
        lambda: service.by_reference("C-222222"),
    ):
        with pytest.raises(NotFound):
            look()
