"""Consultations: they move the lead, end the sequence and email the person; calendar file."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from crm.audit import acts
from crm.consent import service as consent
from crm.consultations import service as consultations
from crm.contacts.models import Contact
from crm.content.models import ContentItem, ContentVersion
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.leads import service
from crm.leads.models import Task
from crm.messages.models import Batch, Message
from crm.sequences.models import Enrolment
from tests.leads.test_service import lead, move, referral  # noqa: F401 - fixtures
from tests.support import factories as support_factories

SOON = datetime(2026, 3, 5, 18, 0, tzinfo=UTC)  # a Thursday, 10:00 in Los Angeles
HOUR = timedelta(hours=1)


def book(lead, at=SOON, **more):  # noqa: F811
    return consultations.book(lead_id=lead.id, version=lead.version, starts_at=at, **more)


def open_tasks(lead):  # noqa: F811
    rows = select(Task.kind).where(Task.lead_id == lead.id, Task.done_at.is_(None), Task.kind == "tell")
    return db.session.scalars(rows).all()


def test_booking_moves_lead(lead):  # noqa: F811
    move(lead, "contacted")
    made = book(lead)
    assert (lead.stage, made.state, made.minutes) == ("consult_scheduled", "booked", 60)
    assert consultations.booked_consultation(lead.id) is made


def test_new_lead_cannot_be_booked(lead):  # noqa: F811
    with pytest.raises(Conflict):
        book(lead)
    assert (lead.stage, consultations.consultations_of(lead.id)) == ("new", [])


@pytest.mark.parametrize(
    ("at", "minutes"),
    [(datetime(2026, 3, 3, 16, tzinfo=UTC), 60), (SOON + timedelta(days=400), 60), (SOON + timedelta(days=2), 60), (SOON, 7)],
)  # fmt: skip
def test_invalid_times(lead, at, minutes):  # noqa: F811
    """Past, too far, a Saturday, an odd length."""
    move(lead, "contacted")
    with pytest.raises(Invalid):
        book(lead, at, minutes=minutes)


def test_booking_ends_sequence_and_emails(lead, redis):  # noqa: F811
    support_factories.shipped()
    support_factories.opted_in(lead.contact)
    move(lead, "contacted")
    book(lead)
    enrolment = db.session.scalars(select(Enrolment)).one()
    assert (enrolment.state, enrolment.reason) == ("exited", "booked")
    stream = select(Batch.stream, Message.state, Message.params).join(Message, Message.batch_id == Batch.id)
    [mail] = db.session.execute(stream.where(Batch.stream == "transactional_phi")).all()
    assert mail.params["moments"]["appointment_time"] == SOON.isoformat()
    assert mail.state == "blocked_policy"  # tests have no transport that may carry it
    assert open_tasks(lead) == ["tell"]


def test_call_task_without_email(lead, redis):  # noqa: F811
    move(lead, "contacted")
    made = book(lead)
    assert open_tasks(lead) == ["tell"]
    db.session.get_one(Contact, lead.contact_id).email = None
    consultations.rebook(consultation_id=made.id, starts_at=SOON + HOUR)
    assert open_tasks(lead) == ["tell"]  # one is enough


def test_reschedule(lead):  # noqa: F811
    move(lead, "contacted")
    old = book(lead)
    new = consultations.rebook(consultation_id=old.id, starts_at=SOON + HOUR)
    assert (old.state, new.state, lead.stage) == ("rescheduled", "booked", "consult_scheduled")
    for late in (
        lambda: consultations.rebook(consultation_id=old.id, starts_at=SOON + 2 * HOUR),
        lambda: consultations.rebook(consultation_id=new.id, starts_at=SOON + HOUR),
        lambda: book(lead, SOON + 2 * HOUR),
        lambda: consultations.finish(consultation_id=new.id, state="attended", version=lead.version),
    ):
        with pytest.raises(Conflict):
            late()


@pytest.mark.parametrize(
    ("state", "request_stage", "referral_stage"),
    [("attended", "consult_done", "seen"), ("no_show", "qualified", "no_show"), ("cancelled", "qualified", "cancelled")],
)  # fmt: skip
def test_results(lead, referral, clock, state, request_stage, referral_stage):  # noqa: F811
    move(lead, "contacted")
    move(referral, "accepted")
    for one in (lead, referral):
        book(one, confirmed=True)
    clock.move_to(SOON + HOUR)
    for one, stage in ((lead, request_stage), (referral, referral_stage)):
        made = consultations.booked_consultation(one.id)
        consultations.finish(consultation_id=made.id, state=state, version=one.version)
        assert (one.stage, made.state, consultations.booked_consultation(one.id)) == (stage, state, None)


def test_invalid_results(lead):  # noqa: F811
    move(lead, "contacted")
    made = book(lead)
    with pytest.raises(Invalid):
        consultations.finish(consultation_id=made.id, state="fun", version=lead.version)
    with pytest.raises(NotFound):
        consultations.finish(consultation_id=0, state="cancelled", version=lead.version)
    with pytest.raises(NotFound):
        consultations.get(lead_id=0, consultation_id=made.id)


def test_clinic_today(lead, clock):  # noqa: F811
    move(lead, "contacted")
    made = book(lead, datetime(2026, 3, 6, 0, 30, tzinfo=UTC), minutes=30)  # Thursday 16:30 at the clinic
    assert consultations.consultations_on(SOON.date()) == [made]
    assert consultations.consultations_on(SOON.date() + timedelta(days=1)) == []
    clock.move_to(datetime(2026, 3, 6, 3, tzinfo=UTC))
    assert consultations.clinic_today() == SOON.date()


def test_calendar_file(lead):  # noqa: F811
    move(lead, "contacted")
    made = book(lead, minutes=90)
    text = consultations.calendar_file(made, place="Clinic; 1 Main St, Town " + "é" * 80, host="crm.example")
    lines = text.split("\r\n")
    assert "DTSTART:20260305T180000Z" in lines
    assert "DTEND:20260305T193000Z" in lines
    assert f"SUMMARY:Consultation {lead.reference}" in lines
    assert "Ana" not in text
    assert "LOCATION:Clinic\\; 1 Main St\\, Town" in text
    assert max(len(line.encode()) for line in lines) <= 75
    made.state = "cancelled"
    assert "STATUS:CANCELLED" in consultations.calendar_file(made, place="", host="crm.example")


def test_phone_task_needs_open_lead(lead):  # noqa: F811
    move(lead, "lost:cost")
    service.open_phone_task(contact_id=lead.contact_id)
    assert open_tasks(lead) == []


EARLY = datetime(2026, 3, 5, 10, 0, tzinfo=UTC)  # 2:00 at night in Los Angeles
LATE = datetime(2026, 3, 6, 0, 30, tzinfo=UTC)  # 16:30; an hour ends after closing


@pytest.mark.parametrize("at", [EARLY, LATE])
def test_outside_opening_hours_asks(lead, at):  # noqa: F811
    move(lead, "contacted")
    with pytest.raises(Invalid) as error:
        book(lead, at)
    assert list(error.value.fields) == ["confirmed"]
    assert book(lead, at, confirmed=True).starts_at == at


def test_same_minute_asks(lead, referral):  # noqa: F811
    move(lead, "contacted")
    book(lead)
    move(referral, "accepted")
    with pytest.raises(Invalid) as error:
        book(referral)
    assert "Another consultation" in error.value.fields["confirmed"][0]
    assert book(referral, confirmed=True).starts_at == SOON


def test_moved_consultation_keeps_uid(lead):  # noqa: F811
    move(lead, "contacted")
    first = book(lead)
    second = consultations.rebook(consultation_id=first.id, starts_at=SOON + HOUR)
    third = consultations.rebook(consultation_id=second.id, starts_at=SOON + 2 * HOUR)
    texts = [
        consultations.calendar_file(one, place="Here", host="x.example") for one in (first, second, third)
    ]
    for number, text in enumerate(texts):
        assert f"UID:consultation-{first.id}@x.example\r\n" in text
        assert f"SEQUENCE:{number}\r\n" in text


def test_no_email_without_agreement(referral, redis):  # noqa: F811
    support_factories.shipped()
    move(referral, "accepted")
    assert not referral.referral.patient_agreed_to_email
    book(referral)
    assert db.session.scalars(select(Message)).all() == []
    assert open_tasks(referral) == ["tell"]


def sent(lead):  # noqa: F811
    """The appointment emails of a person, oldest first."""
    rows = (
        select(ContentItem.key)
        .join(ContentVersion, ContentVersion.item_id == ContentItem.id)
        .join(Message, Message.content_version_id == ContentVersion.id)
        .where(Message.contact_id == lead.contact_id, ContentItem.key.contains("appointment"))
    )
    return [key.removeprefix("email/") for key in db.session.scalars(rows.order_by(Message.id))]


@pytest.mark.parametrize(
    ("stage", "started", "state"),
    [
        ("not_a_fit:age", False, "cancelled"),
        ("qualified", False, "cancelled"),
        ("consult_done", True, "attended"),
    ],
)
def test_stage_moved_by_hand_ends_the_consultation(lead, clock, stage, started, state):  # noqa: F811
    move(lead, "contacted")
    made = book(lead)
    if started:
        clock.move_to(SOON + HOUR)
    move(lead, stage)
    assert (made.state, consultations.booked_consultation(lead.id)) == (state, None)


@pytest.mark.parametrize("stage", ["seen", "no_show", "rescheduled"])
def test_stage_that_a_booked_consultation_refuses(referral, stage):  # noqa: F811
    move(referral, "accepted")
    book(referral)
    with pytest.raises(Conflict, match=r"not started yet|Reschedule it"):
        move(referral, stage)


def test_undo_emails_what_holds(lead, redis):  # noqa: F811
    support_factories.shipped()
    support_factories.opted_in(lead.contact)
    move(lead, "contacted")
    with acts.begin("book", lead_id=lead.id) as act:
        made = book(lead)
    consultations.undo_act(act.id, lead_id=lead.id)
    assert (lead.stage, consultations.consultations_of(lead.id)) == ("contacted", [])
    made = book(lead)
    with acts.begin("consultation", lead_id=lead.id) as act:
        consultations.finish(consultation_id=made.id, state="cancelled", version=lead.version)
    consultations.undo_act(act.id, lead_id=lead.id)
    assert consultations.booked_consultation(lead.id).id == made.id
    assert sent(lead) == [
        "appointment-booked", "appointment-cancelled", "appointment-booked", "appointment-cancelled",
        "appointment-booked",
    ]  # fmt: skip


def test_undo_of_an_outcome_emails_nothing(lead, redis, clock):  # noqa: F811
    support_factories.shipped()
    support_factories.opted_in(lead.contact)
    move(lead, "contacted")
    made = book(lead)
    clock.move_to(SOON + HOUR)
    with acts.begin("consultation", lead_id=lead.id) as act:
        consultations.finish(consultation_id=made.id, state="no_show", version=lead.version)
    consultations.undo_act(act.id, lead_id=lead.id)
    assert (made.state, sent(lead)) == ("booked", ["appointment-booked"])


def test_why_nothing_is_emailed(lead, referral):  # noqa: F811
    assert consultations.email_refusal(referral) == "they have not agreed to be emailed"
    referral.referral.patient_agreed_to_email = True
    assert consultations.email_refusal(referral) is None
    support_factories.opted_in(lead.contact)
    assert consultations.email_refusal(lead) is None
    consent.withdraw(contact_id=lead.contact_id, topic="prospect_edu", source="preferences")
    assert consultations.email_refusal(lead) == "they opted out"
    lead.contact.email = None
    db.session.flush()
    assert consultations.email_refusal(lead) == "there is no email address"
