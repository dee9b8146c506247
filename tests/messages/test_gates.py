"""The claim repeats every check right before sending, whatever changed since planning."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.audit import acts
from crm.campaigns import queries as campaign_queries
from crm.campaigns import service as campaigns
from crm.campaigns.service import settle_returned_batches
from crm.contacts import service as contacts
from crm.content.editor import service as editor
from crm.core import clock as time
from crm.core.db import db, transaction
from crm.core.errors import Conflict
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.mailer import Fate, Outcome
from crm.messages import service
from crm.messages.engine import claim, record, sweep
from crm.messages.engine.deliver import deliver as deliver_batch
from crm.messages.limits import switches
from crm.messages.models import Batch, Message
from crm.sequences import planner
from crm.sequences import service as sequences
from crm.sequences.models import EmailSequence, Enrolment
from crm.staff.models import Alert
from jobs.sequences import release
from tests.campaigns.conftest import audience, deliver, freeze, launched, reached
from tests.messages.test_engine import DAY, deliver_all, enrolled, plan, states
from tests.messages.test_held_content import WRITER, approve, newest
from tests.support import factories as support_factories
from tests.support.states import bring

HOUR = 3_600
UNAVAILABLE = Outcome(fate=Fate.TRY_AGAIN, error="503")


def claimed(app):
    batch_id = db.session.scalars(
        select(Batch.id).where(Batch.state == "ready", Batch.kind != "transactional")
    ).first()
    with transaction():
        return claim.claim_batch(batch_id, clinic=app.settings.clinic, public_url=app.settings.public_url)


def sequence_id() -> int:
    return db.session.scalars(select(EmailSequence.id).where(EmailSequence.key == "contact-request")).one()


def batch_state() -> str:
    db.session.expire_all()
    return str(db.session.scalars(select(Batch.state).where(Batch.kind != "transactional")).one())


@pytest.mark.parametrize(("stop", "state"), [("pause", "held"), ("cancel", "cancelled")])
def test_a_broadcast_stopped_during_a_call_sends_nothing_more(outbox, app, clock, stop, state):
    audience(3)
    campaign_id = launched()
    freeze(campaign_id)
    attempt = claimed(app)
    with transaction():
        getattr(campaigns, stop)(campaign_id)
    with transaction():
        record.apply_outcome(attempt, UNAVAILABLE)
    assert batch_state() == state
    deliver(app)
    assert outbox.sent == []
    if stop == "pause":
        with transaction():
            campaigns.resume(campaign_id)
        clock.shift(HOUR)
        deliver(app)
        assert len(reached(outbox)) == 3


@pytest.mark.parametrize("stop", ["pause", "cancel"])
def test_a_ready_batch_of_a_stopped_broadcast_is_not_claimed(outbox, app, stop):
    audience(3)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        getattr(campaigns, stop)(campaign_id)
        if stop == "pause":
            bring("batch", "ready", where="kind = 'campaign'")  # by whatever way it came back
    deliver(app)
    assert outbox.sent == []


def test_a_paused_sequence_sends_nothing_by_any_way(outbox, app, clock):
    who = enrolled()
    plan()
    attempt = claimed(app)
    with transaction():
        sequences.pause(sequence_id())
        record.apply_outcome(attempt, UNAVAILABLE)
    assert batch_state() == "held"
    with transaction():
        bring("batch", "ready", where="kind = 'sequence'")
    deliver_all(app)
    enrolment_id = db.session.scalars(select(Enrolment.id).where(Enrolment.contact_id == who)).one()
    with pytest.raises(Conflict, match="paused"), transaction():
        sequences.send_next_now(enrolment_id)
    assert outbox.sent == []
    with transaction():
        sequences.resume(sequence_id())
    clock.shift(HOUR)
    deliver_all(app)
    assert len(outbox.sent) == 1


def test_content_approved_during_a_pause_wakes_nobody(outbox, app, clock):
    enrolled()
    db.session.execute(
        text("update enrolment set state = 'held', due_at = null, reason = 'content_not_approved'")
    )
    with transaction():
        sequences.pause(sequence_id())
        sequences.release_held()
    assert plan() == 0
    assert db.session.scalar(select(Enrolment.state)) == "paused"
    with transaction():
        sequences.resume(sequence_id())
    assert plan() == 1


def test_consent_during_a_pause_enrolls_and_waits(outbox, app, clock):
    with transaction():
        sequences.pause(sequence_id())
    clock.shift(3 * DAY)
    enrolled()
    clock.shift(3 * DAY)  # a Monday
    assert plan() == 0
    with transaction():
        sequences.resume(sequence_id())
    plan()
    deliver_all(app)
    assert len(outbox.sent) == 1


def test_an_exit_during_a_call_is_known_at_the_next_claim(outbox, app):
    enrolled()
    plan()
    attempt = claimed(app)
    with transaction():
        db.session.execute(
            text("update enrolment set state = 'exited', due_at = null, reason = 'booked', left_at = :now"),
            {"now": time.now()},
        )
        record.apply_outcome(attempt, UNAVAILABLE)
        db.session.execute(text("update batch set not_before = :now"), {"now": time.now()})
    deliver_all(app)
    assert outbox.sent == []
    assert states()[0][1:] == ("skipped", "left_sequence")


def test_a_release_at_night_waits_for_the_window(outbox, app, clock):
    enrolled()
    enrolled(email="b@patients.example", first_name="Bo", time_zone="Pacific/Honolulu")
    clock.shift(3 * HOUR)
    plan()
    clock.shift(8 * HOUR)  # 20:00 in Los Angeles, 18:00 in Honolulu
    deliver_all(app)
    assert outbox.sent == []
    waiting = db.session.execute(
        select(Batch.not_before, Batch.size).where(Batch.state == "ready").order_by(Batch.not_before)
    ).all()
    assert [row.size for row in waiting] == [1, 1]
    assert waiting[1].not_before - waiting[0].not_before == timedelta(hours=2)
    clock.move_to(waiting[0].not_before)
    deliver_all(app)
    assert len(outbox.sent) == 1


def test_the_hour_does_not_hold_what_staff_asked_for(outbox, app, clock):
    who = enrolled()
    clock.shift(11 * HOUR)
    enrolment_id = db.session.scalars(select(Enrolment.id).where(Enrolment.contact_id == who)).one()
    with transaction():
        sequences.send_next_now(enrolment_id)
    plan()
    deliver_all(app)
    assert len(outbox.sent) == 1


def test_a_call_holds_educational_mail(outbox, app, clock):
    who = enrolled()
    clock.shift(3 * HOUR)
    plan()
    with transaction():
        contacts.record_touch(who)
    deliver_all(app)
    assert outbox.sent == []
    waits = select(Batch.not_before, Batch.error).where(Batch.state == "ready")
    waiting = db.session.execute(waits).one()
    assert waiting.error == claim.AFTER_TOUCH
    assert waiting.not_before >= time.now() + app.settings.touch_hold
    clock.move_to(waiting.not_before)
    deliver_all(app)
    assert len(outbox.sent) == 1


@pytest.mark.parametrize("queued", [False, True])
def test_mail_goes_on_once_the_call_is_undone(outbox, app, clock, queued):
    who = enrolled()
    with transaction():
        lead = Lead(
            reference="C-1", contact_id=who, kind="contact_request", stage="contacted", source="form",
            created_at=time.now(), stage_at=time.now(), attempts=0, urgent=False, demo=False,
        )  # fmt: skip
        db.session.add(lead)
    clock.shift(3 * HOUR)
    if queued:
        plan()
    with transaction(), acts.begin("call", lead_id=lead.id) as act:
        contacts.record_touch(who)
    plan()
    deliver_all(app)
    assert outbox.sent == []
    with transaction():
        leads.undo_act(act.id, lead_id=lead.id)
    plan()
    deliver_all(app)
    assert len(outbox.sent) == 1


def test_a_call_holds_one_person_of_a_broadcast(outbox, app, clock):
    people = audience(3)
    freeze(launched())
    with transaction():
        contacts.record_touch(people[0])
    deliver(app)
    assert len(reached(outbox)) == 2


def test_a_call_does_not_hold_transactional_mail(outbox, app, clock):
    who = enrolled()
    with transaction():
        contacts.record_touch(who)
        service.send_transactional("answer-please-call", contact_id=who, language="en")
    deliver_all(app)
    assert len(outbox.sent) == 1


def test_a_call_defers_the_next_step(outbox, app, clock):
    who = enrolled()
    clock.shift(3 * HOUR)
    with transaction():
        contacts.record_touch(who)
    plan()
    waiting = db.session.scalars(select(Enrolment).where(Enrolment.contact_id == who)).one()
    assert (waiting.state, waiting.reason, waiting.step) == ("active", "human_touch", 0)
    assert waiting.due_at >= time.now() + app.settings.touch_hold
    with transaction():
        sequences.send_next_now(waiting.id)
    plan()
    deliver_all(app)
    assert len(outbox.sent) == 1


def test_lateness_counts_from_the_planned_time(outbox, app, clock):
    audience(3)
    with transaction():
        campaign_id = campaigns.create(name="News", item="contact-request/01-welcome", late_after_hours=24)
        campaigns.launch(campaign_id, at=time.now() + timedelta(hours=1))
    clock.shift(48 * HOUR)  # everything was off
    with transaction():
        campaigns.begin(campaign_id)
    freeze(campaign_id)
    deliver(app)
    assert outbox.sent == []


def test_steps_due_long_ago_are_too_late(outbox, app, clock):
    enrolled()
    clock.shift(4 * DAY)
    plan()
    deliver_all(app)
    assert outbox.sent == []


def test_lateness_is_rounded_up(outbox, app, clock):
    """Planned after 2 days and 7 hours, sent after 3 days and 6 hours: that is more than three days."""
    enrolled()
    clock.shift(2 * DAY + 7 * 3_600)
    plan()
    with transaction():
        switches.stop(by="Kim", reason="x")
    clock.shift(23 * 3_600)
    with transaction():
        switches.release(by="Kim")
    deliver_all(app)
    assert outbox.sent == []


def test_a_wait_for_the_window_makes_no_step_younger(outbox, app, clock):
    """Due on Tuesday; the planner is off until Thursday night, then sending is stopped until Monday."""
    enrolled()
    clock.shift(2 * DAY + 11 * HOUR)
    plan()
    clock.shift(13 * HOUR + 1_800)
    with transaction():
        switches.stop(by="Kim", reason="x")
    plan()
    clock.shift(3 * DAY - 600)
    with transaction():
        switches.release(by="Kim")
    deliver_all(app)
    assert outbox.sent == []


@pytest.mark.parametrize("fate", [Fate.REFUSED, Fate.TRY_AGAIN])
def test_the_cap_counts_no_email_that_was_never_sent(outbox, app, fate):
    people = audience(1)
    for number in range(3):
        campaign_id = launched(name=f"News {number}", repeat_allowed=True)
        freeze(campaign_id)
        attempt = claimed(app)
        with transaction():
            record.apply_outcome(attempt, Outcome(fate=fate, error="x"))
            campaigns.cancel(campaign_id)
    last = launched(name="Last", repeat_allowed=True)
    with transaction():
        assert campaign_queries.preflight(campaign_queries.get(last)).people == 1
    freeze(last)
    deliver(app)
    assert len(reached(outbox)) == len(people)


def test_the_cap_counts_from_when_an_email_was_sent(outbox, app, clock):
    """Three wait in a pause for six days; two days after they were sent the week is still full."""
    audience(1)
    numbers = [launched(name=f"News {n}", repeat_allowed=True, late_after_hours=168) for n in range(3)]
    for number in numbers:
        freeze(number)
        attempt = claimed(app)
        with transaction():
            record.apply_outcome(attempt, Outcome(fate=Fate.TRY_AGAIN, error="503"))
            campaigns.pause(number)
    clock.shift(6 * DAY)
    for number in numbers:
        with transaction():
            campaigns.resume(number)
    deliver(app)
    clock.shift(2 * DAY)
    freeze(launched(name="Fourth", repeat_allowed=True))
    deliver(app)
    assert len(outbox.sent) == 3


def test_an_excluded_tag_given_during_a_pause_counts(outbox, app):
    people = audience(3)
    with transaction():
        contacts.add_tag(contact_id=people[0], tag="do not mail")
        campaign_id = campaigns.create(
            name="N", item="contact-request/01-welcome", exclude_tags=["do not mail"]
        )
        campaigns.launch(campaign_id)
    freeze(campaign_id)
    with transaction():
        campaigns.pause(campaign_id)
        contacts.add_tag(contact_id=people[1], tag="do not mail")
    with transaction():
        campaigns.resume(campaign_id)
    deliver(app)
    assert len(reached(outbox)) == 1


def test_to_the_rest_waits_for_calls_under_way(outbox, app):
    audience(2)
    first = launched()
    freeze(first)
    attempt = claimed(app)
    with transaction():
        campaigns.cancel(first)
    with transaction(), pytest.raises(Conflict, match="being sent"):
        campaigns.resend(first)
    with transaction():
        record.apply_outcome(attempt, Outcome(fate=Fate.TRY_AGAIN, error="503"))
        settle_returned_batches()
        rest = campaigns.resend(first)
        campaigns.launch(rest)
    freeze(rest)
    deliver(app)
    assert len(reached(outbox)) == 2


def test_the_cap_counts_what_was_committed_meanwhile(outbox, app, clock):
    who = enrolled()
    plan()
    other_emails(who, 3)
    deliver_all(app)
    assert outbox.sent == []
    assert ("skipped", "frequency_cap") in [row[1:] for row in states()]


def test_two_sequences_in_one_slice_do_not_pass_the_cap_together(outbox, app, clock):
    who = enrolled()
    with transaction():
        other = db.session.scalars(select(EmailSequence).where(EmailSequence.key == "referred-patient")).one()
        db.session.execute(
            text("""
                insert into enrolment (contact_id, sequence_id, version_id, state, step, due_at, anchor_at, entered_at)
                select :who, :other, v.id, 'active', 0, :now, :now, :now from sequence_version v where v.sequence_id = :other
            """),
            {"who": who, "other": other.id, "now": time.now()},
        )
    plan()
    assert (
        db.session.scalar(text("select count(*) from message where contact_id = :w and step = 0"), {"w": who})
        == 1
    )


def test_a_broadcast_leaves_out_who_had_the_version(outbox, app, clock):
    who = enrolled()
    plan()
    deliver_all(app)
    others = audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    deliver(app)
    assert len(reached(outbox)) == 3  # the one of the sequence, and the two who had not had it
    reasons = db.session.scalars(
        select(Message.reason).where(Message.campaign_id == campaign_id, Message.contact_id == who)
    )
    assert reasons.one() == "had_already"
    again = launched()
    with transaction():
        db.session.execute(text("update campaign set repeat_allowed = true where id = :id"), {"id": again})
    freeze(again)
    deliver(app)
    assert len(reached(outbox)) == 3 + 1 + len(others)


def test_consent_is_kept_when_the_plan_cannot_be_read(outbox):
    with transaction():
        newest = text("""
            insert into sequence_version (sequence_id, number, plan, created_at) values (:s, 99, '{"window": 7}', :now)
        """)
        db.session.execute(newest, {"s": sequence_id(), "now": time.now()})  # versions are never changed
        who = support_factories.contact()
        support_factories.opted_in(who)
    assert db.session.scalar(text("select granted from consent_state where topic = 'prospect_edu'")) is True
    plan()
    assert db.session.scalar(select(Enrolment.reason)) == "plan_unreadable"


def test_an_unreadable_plan_holds_its_own_people_only(outbox, app, clock):
    who = enrolled()
    with transaction():
        broken = EmailSequence(key="broken", title="Broken", topic="prospect_edu", stream="prospect_edu", state="live",
                               created_at=time.now())  # fmt: skip
        db.session.add(broken)
        db.session.flush()
        other = support_factories.contact("b@patients.example", first_name="Bo")
        support_factories.opted_in(other)
        db.session.execute(
            text("""
                with v as (insert into sequence_version (sequence_id, number, plan, created_at)
                    values (:s, 1, '{"window": 7}', :now) returning id)
                insert into enrolment (contact_id, sequence_id, version_id, state, step, due_at, anchor_at, entered_at)
                select :who, :s, v.id, 'active', 0, :now, :now, :now from v
            """),
            {"s": broken.id, "who": other.id, "now": time.now()},
        )
    while plan():
        pass
    assert (
        db.session.scalar(text("select count(*) from message where contact_id = :w and step = 0"), {"w": who})
        == 1
    )
    held = db.session.execute(
        select(Enrolment.state, Enrolment.reason).where(Enrolment.sequence_id == broken.id)
    ).one()
    assert tuple(held) == ("held", "plan_unreadable")
    assert db.session.scalars(select(Alert.key).where(Alert.key.like("unreadable-plan:%"))).one()


@pytest.mark.parametrize("left_by", ["booked", "completed"])
def test_a_series_does_not_begin_again_after_booking_or_its_end(outbox, app, left_by):
    who = enrolled()
    with transaction():
        if left_by == "booked":
            sequences.exit_people(contact_ids=[who], reason="booked")
        else:
            db.session.execute(text("update enrolment set state = 'completed', due_at = null, step = 6"))
        assert sequences.enrol(contact_id=who, topic="prospect_edu", record_id=1) is None


def test_new_consent_resumes_after_the_last_email(outbox, app, clock):
    who = enrolled()
    plan()
    deliver_all(app)
    with transaction():
        sequences.exit_people(contact_ids=[who], reason="opted_out")
        record_id = db.session.scalar(text("select max(id) from consent_record"))
        again = sequences.enrol(contact_id=who, topic="prospect_edu", record_id=record_id)
    assert db.session.get(Enrolment, again).step == 1


def send_again() -> None:
    """Fail every batch of bulk mail; a person sends it again."""
    with transaction():
        bring("batch", "failed", where="kind <> 'transactional' and state = 'ready'")
        ids = db.session.scalars(select(Batch.id).where(Batch.state == "failed")).all()
        service.decide(ids, send_again=True)


def test_sending_again_asks_the_same(outbox, app):
    audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        campaigns.pause(campaign_id)
        bring("batch", "ready", where="kind = 'campaign'")
    send_again()
    deliver(app)
    assert outbox.sent == []


def other_emails(who: int, number: int) -> None:
    """Give a person so many educational emails of other broadcasts today."""
    with transaction():
        db.session.execute(
            text("""
                insert into message (batch_id, contact_id, content_version_id, campaign_id, created_at)
                select (select min(id) from batch where kind = 'transactional'), :who, 0, 900 + n, :now
                from generate_series(1, :number) n
            """),
            {"who": who, "number": number, "now": time.now()},
        )


@pytest.mark.parametrize("reason", ["frequency_cap", "had_already"])
def test_a_broadcast_sent_again_asks_cap_and_version_anew(outbox, app, clock, reason):
    who = enrolled()
    campaign_id = launched()
    freeze(campaign_id)
    attempt = claimed(app)  # its message rows are written
    with transaction():
        record.apply_outcome(attempt, UNAVAILABLE)
    if reason == "frequency_cap":
        other_emails(who, 3)
    else:
        plan()
        sequence_batch = select(Batch.id).where(Batch.kind == "sequence")
        deliver_batch(db.session.scalars(sequence_batch).one(), settings=app.settings)
    before = len(outbox.sent)
    send_again()
    clock.shift(60)
    deliver(app)
    assert len(outbox.sent) == before
    row = db.session.execute(
        select(Message.state, Message.reason).where(Message.campaign_id == campaign_id)
    ).one()
    assert tuple(row) == ("skipped", reason)


def test_booking_ends_a_series_whose_last_email_waits(outbox, app):
    who = enrolled()
    plan()
    with transaction():
        db.session.execute(text("update enrolment set state = 'completed', due_at = null, step = 6"))
        bring("batch", "failed", where="kind = 'sequence'")
        assert sequences.exit_people(contact_ids=[who], reason="booked") == 1
    with transaction():
        ids = db.session.scalars(select(Batch.id).where(Batch.state == "failed")).all()
        service.decide(ids, send_again=True)
    deliver_all(app)
    assert outbox.sent == []
    assert states()[0][1:] == ("skipped", "left_sequence")


@pytest.mark.parametrize("hours", [0, 11])
def test_send_next_now_skips_the_hour_only_for_an_hour(outbox, app, clock, hours):
    """Whether the email waits as a step or as a batch: hours later the night counts again."""
    who = enrolled()
    clock.shift(hours * HOUR)
    enrolment_id = db.session.scalars(select(Enrolment.id).where(Enrolment.contact_id == who)).one()
    with transaction():
        sequences.send_next_now(enrolment_id)
    if not hours:
        plan()
    clock.shift(10 * HOUR if hours == 0 else 2 * HOUR)
    plan()
    deliver_all(app)
    assert outbox.sent == []


def test_a_pause_forgets_that_a_step_was_to_be_sent_now(outbox, app):
    who = enrolled()
    enrolment_id = db.session.scalars(select(Enrolment.id).where(Enrolment.contact_id == who)).one()
    with transaction():
        sequences.send_next_now(enrolment_id)
        sequences.pause(sequence_id())
        sequences.resume(sequence_id())
    assert db.session.scalars(select(Enrolment.send_now)).one() is False


def test_a_broadcast_asks_the_hour_where_people_are_now(outbox, app):
    _, moves = audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        move = text("update contact set time_zone = 'Asia/Kolkata' where id = :id")
        db.session.execute(move, {"id": moves})
    deliver(app)
    assert len(reached(outbox)) == 1
    waiting = db.session.execute(
        select(Batch.time_zones, Batch.not_before).where(Batch.state == "ready")
    ).one()
    assert waiting.time_zones == ["Asia/Kolkata"]
    assert waiting.not_before > time.now()


def test_a_batch_with_an_unknown_zone_delays_nobody(outbox, app):
    audience(3)
    spoiled, sound = launched(), launched(repeat_allowed=True)
    for campaign_id in (spoiled, sound):
        freeze(campaign_id)
    with transaction():
        db.session.execute(
            text("update batch set time_zones = '{localtime,America/Chicago}' where campaign_id = :id"),
            {"id": spoiled},
        )
    deliver(app)  # no sweep in between
    assert len(reached(outbox)) == 3
    with transaction():
        sweep.run_sweep(production=False)
    assert (
        db.session.scalars(select(Batch.error).where(Batch.campaign_id == spoiled)).one()
        == "time zone not found"
    )


def test_a_batch_that_cannot_be_built_delays_nobody(outbox, app, clock):
    enrolled()
    plan()
    with transaction():
        db.session.execute(text("""update batch set send_window = '{"start": 7}' where kind = 'sequence'"""))
    audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    deliver(app)
    assert len(reached(outbox)) == 2
    batch = db.session.execute(select(Batch.id, Batch.error).where(Batch.kind == "sequence")).one()
    assert batch.error == "cannot be built: TypeError"
    assert db.session.scalar(select(Alert.level).where(Alert.key == f"batch:{batch.id}")) == "danger"
    with transaction():
        db.session.execute(text("update batch set send_window = null where kind = 'sequence'"))
    clock.shift(600)
    deliver_all(app)
    assert len(reached(outbox)) == 3


def test_people_who_cannot_be_planned_are_set_aside_alone(outbox, app, clock, monkeypatch):
    people = [
        enrolled(email=f"p{number}@patients.example", language=("en", "es")[number % 2])
        for number in range(5)
    ]
    broken, decide = people[3], planner._decide

    def fails(due, *rest):
        if due.time_zone == "Asia/Kolkata":
            raise RuntimeError("no row must stop the others")
        return decide(due, *rest)

    with transaction():
        db.session.execute(
            text("update contact set time_zone = 'Asia/Kolkata' where id = :id"), {"id": broken}
        )
    monkeypatch.setattr(planner, "_decide", fails)
    plan()
    planned = db.session.scalars(select(Message.contact_id).where(Message.step == 0))
    assert sorted(planned) == sorted(set(people) - {broken})
    row = db.session.execute(
        select(Enrolment.state, Enrolment.reason).where(Enrolment.contact_id == broken)
    ).one()
    assert tuple(row) == ("active", "not_planned")
    assert "1 people" in db.session.scalars(select(Alert.text).where(Alert.key == "not-planned")).one()
    monkeypatch.undo()
    clock.shift(12 * HOUR)  # a morning in Kolkata
    plan()
    assert db.session.scalar(
        select(Message.contact_id).where(Message.contact_id == broken, Message.step == 0)
    )


def test_a_fault_of_everyone_sets_nobody_aside(outbox, monkeypatch):
    monkeypatch.setattr(planner, "MOST_SET_ASIDE", 1)
    monkeypatch.setattr(planner, "_decide", lambda *_: 1 / 0)
    for number in range(3):
        enrolled(email=f"p{number}@patients.example")
    with pytest.raises(ZeroDivisionError):
        plan()
    db.session.rollback()
    assert set(db.session.scalars(select(Enrolment.reason))) == {None}


def test_an_email_that_is_days_late_is_listed_at_night_too(outbox, app, clock):
    enrolled()
    clock.shift(4 * DAY + 11 * HOUR)
    plan()
    with transaction():
        sweep.run_sweep(production=False)
    assert states() == [("failed", None, None)]


def test_who_enters_while_a_sequence_resumes_is_not_left_behind(outbox, app):
    enrolled()
    with transaction():
        sequences.pause(sequence_id())
        db.session.execute(
            text("update sequence set state = 'live', paused_at = null")
        )  # the resume overlooked them
    release()
    assert plan() == 1


def test_content_approved_during_a_pause_releases_what_is_held_later(outbox, app):
    audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        campaigns.pause(campaign_id)
        old = newest("contact-request/01-welcome")
        db.session.execute(
            text("update content_version set state = 'retired' where id = :id"), {"id": old.id}
        )
        made = editor.open_draft(old.item_id, language="en", actor=WRITER)
        approve(made.id)
        campaigns.resume(campaign_id)
    deliver(app)
    assert outbox.sent == []
    with transaction():
        assert service.release_approved() == 1
    deliver(app)
    assert len(reached(outbox)) == 2
