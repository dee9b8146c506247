"""Consultations: they move the lead, end the sequence and email the person."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from crm.audit import acts
from crm.audit import service as audit
from crm.consent import service as consent
from crm.consultations import service as consultations
from crm.contacts.models import Contact
from crm.content.models import ContentItem, ContentVersion
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.leads import rules, service
from crm.leads.models import StageMove, Task
from crm.mailer import Fate, Outcome
from crm.mailer.memory import MemoryMailer
from crm.messages import transports
from crm.messages.engine import claim, record
from crm.messages.limits import switches
from crm.messages.models import Batch, Message
from crm.sequences.models import Enrolment
from crm.staff import alerts
from tests.leads.test_service import lead, move, referral  # noqa: F401 - fixtures
from tests.support import factories as support_factories
from tests.support.browser_client import member
from tests.support.states import bring

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


@pytest.mark.parametrize("stages", [("spam",), ("not_a_fit:age",)])
def test_stage_without_booking(lead, stages):  # noqa: F811
    move(lead, *stages)
    assert not consultations.is_bookable(lead)
    with pytest.raises(Conflict):
        book(lead)
    assert (lead.stage, consultations.consultations_of(lead.id)) == (stages[-1].split(":")[0], [])


def test_every_stage_to_booking_leads_there():
    for kind, ways in consultations.STAGES_TO_BOOKING.items():
        for stage, steps in ways.items():
            path = (stage, *steps, consultations.STAGE_WHEN_BOOKED[rules.LeadKind(kind)])
            for was, to in itertools.pairwise(path):
                assert rules.move_refusal(kind=kind, was=was, to=to, reason=None, outcome_sent=False) is None


def test_booked_in_the_first_call(lead, referral):  # noqa: F811
    with audit.acting("staff:7"):
        book(lead)
        book(referral, SOON + HOUR)
    assert (lead.stage, referral.stage) == ("consult_scheduled", "scheduled")
    assert lead.first_human_touch_at is not None
    assert [move.now for move in moves_of(lead)] == ["new", "contacted", "qualified", "consult_scheduled"]


def moves_of(lead):  # noqa: F811
    return db.session.scalars(select(StageMove).where(StageMove.lead_id == lead.id).order_by(StageMove.id))


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


@pytest.fixture
def doctors(edge):
    names = ("Ada", "Bo")
    for name in names:
        member("clinician", email=f"{name.lower()}@clinic.example", name=name)
    return consultations.clinicians()


@pytest.mark.parametrize(
    ("one", "minutes_later", "other", "asks"),
    [
        (None, 0, None, True),
        (None, 45, None, True),
        (None, 60, None, False),
        (None, -30, None, True),
        (0, 0, 0, True),
        (0, 0, 1, False),
        (0, 0, None, True),
        (None, 0, 1, True),
    ],
)
def test_overlap_asks(lead, referral, doctors, one, minutes_later, other, asks):  # noqa: F811
    """The same time, minutes later or before; with the same clinician, another one, or one not decided."""
    who = [doctors[number].id if number is not None else None for number in (one, other)]
    book(lead, clinician_id=who[0])
    at = SOON + timedelta(minutes=minutes_later)
    if asks:
        with pytest.raises(Invalid) as error:
            book(referral, at, clinician_id=who[1])
        assert "Another consultation" in error.value.fields["confirmed"][0]
    assert book(referral, at, clinician_id=who[1], confirmed=asks).starts_at == at


def test_unknown_clinician(lead):  # noqa: F811
    with pytest.raises(Invalid) as error:
        book(lead, clinician_id=999)
    assert list(error.value.fields) == ["clinician"]


def test_move_keeps_what_is_not_changed(lead, doctors):  # noqa: F811
    made = book(lead, clinician_id=doctors[0].id, minutes=90)
    moved = consultations.rebook(consultation_id=made.id, starts_at=SOON + HOUR)  # overlaps itself only
    assert (moved.minutes, moved.clinician_id) == (90, doctors[0].id)
    other = consultations.rebook(
        consultation_id=moved.id, starts_at=moved.starts_at, clinician_id=doctors[1].id
    )
    assert (other.starts_at, other.clinician) == (moved.starts_at, doctors[1])


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


@pytest.fixture
def emailed(lead, redis):  # noqa: F811
    """A lead whose appointments are emailed: a transport may carry them."""
    support_factories.shipped()
    support_factories.opted_in(lead.contact)
    transports.use({"smtp": MemoryMailer(name="smtp", has_baa=True)})
    switches.attest_phi(transport="smtp", wording="v1", by="staff:1")
    move(lead, "contacted")
    yield lead
    transports.use({})


def waiting(lead):  # noqa: F811
    """The appointment emails of a person that may still leave, oldest first."""
    rows = (
        select(ContentItem.key)
        .join(ContentVersion, ContentVersion.item_id == ContentItem.id)
        .join(Message, Message.content_version_id == ContentVersion.id)
        .join(Batch, Batch.id == Message.batch_id)
        .where(Message.contact_id == lead.contact_id, Message.state.is_(None), Batch.state == "ready")
        .where(ContentItem.key.contains("appointment"))
    )
    return [key.removeprefix("email/appointment-") for key in db.session.scalars(rows.order_by(Message.id))]


def leave():
    bring("batch", "accepted", where="state = 'ready'")


def change(lead, what):  # noqa: F811
    """Book, move or cancel."""
    booked = consultations.booked_consultation(lead.id)
    if what == "book":
        book(lead)
    elif what == "move":
        consultations.rebook(consultation_id=booked.id, starts_at=booked.starts_at + HOUR)
    else:
        consultations.finish(consultation_id=booked.id, state="cancelled", version=lead.version)


@pytest.mark.parametrize(
    ("before", "told", "what", "left", "says"),
    [
        ([], False, "book", False, []),
        ([], False, "book", True, ["cancelled"]),
        (["book"], True, "move", False, []),
        (["book"], True, "move", True, ["changed"]),
        (["book"], False, "move", False, ["booked"]),
        (["book"], True, "cancel", False, []),
        (["book"], True, "cancel", True, ["booked"]),
        (["book"], False, "cancel", False, ["booked"]),
        (["book", "cancel"], True, "book", False, []),
    ],
)
def test_undo_emails_what_holds(emailed, before, told, what, left, says):
    """`told`: the emails before the act left; `left`: so did that of the act."""
    for one in before:
        change(emailed, one)
    if told:
        leave()
    with acts.begin(what, lead_id=emailed.id) as act:
        change(emailed, what)
    if left:
        leave()
    consultations.undo_act(act.id, lead_id=emailed.id)
    assert waiting(emailed) == says


def test_undo_says_it_again_where_the_first_email_ended_in_between(emailed):
    change(emailed, "book")
    with acts.begin("cancel", lead_id=emailed.id) as act:
        change(emailed, "cancel")
    bring("batch", "cancelled", where="id in (select batch_id from message where state = 'skipped')")
    consultations.undo_act(act.id, lead_id=emailed.id)
    assert waiting(emailed) == ["booked"]


def test_a_newer_appointment_email_takes_the_place_of_one_that_waits(emailed):
    for what, says in [("book", "booked"), ("move", "changed"), ("cancel", "cancelled"), ("book", "booked")]:
        change(emailed, what)
        assert waiting(emailed) == [says]


def test_an_email_in_flight_that_comes_back_is_asked_again(emailed, app, clock):
    def claimed(which):
        return claim.claim_batch(which, clinic=app.settings.clinic, public_url=app.settings.public_url)

    change(emailed, "book")
    batch_id = db.session.scalars(select(Batch.id).order_by(Batch.id.desc())).first()
    attempt = claimed(batch_id)
    change(emailed, "move")
    record.apply_outcome(attempt, Outcome(fate=Fate.TRY_AGAIN, error="503"))
    clock.shift(3_600)
    assert claimed(batch_id) is None
    found = db.session.scalars(select(Message).where(Message.batch_id == batch_id)).one()
    assert (found.state, found.reason) == ("skipped", "out_of_date")
    assert waiting(emailed) == ["changed"]


def test_undo_without_a_transport_leaves_no_alert(lead, redis):  # noqa: F811
    support_factories.shipped()
    support_factories.opted_in(lead.contact)
    move(lead, "contacted")
    with acts.begin("book", lead_id=lead.id) as act:
        book(lead)
    consultations.undo_act(act.id, lead_id=lead.id)
    assert (alerts.open_text("blocked-policy"), open_tasks(lead)) == (None, [])


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
