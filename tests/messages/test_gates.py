"""The claim asks everything at the moment of sending, whatever happened between planning and now."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.campaigns import service as campaigns
from crm.core import clock as time
from crm.core.db import db, transaction
from crm.core.errors import Conflict
from crm.mailer import Fate, Outcome
from crm.messages import service
from crm.messages.engine import claim, record
from crm.messages.models import Batch, Message
from crm.sequences import service as sequences
from crm.sequences.models import EmailSequence, Enrolment
from crm.staff.models import Alert
from tests.campaigns.conftest import audience, deliver, freeze, launched, reached
from tests.messages.test_engine import DAY, deliver_all, enrolled, plan, states
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


def test_the_cap_counts_what_was_committed_meanwhile(outbox, app, clock):
    who = enrolled()
    plan()
    version = db.session.scalars(select(Message.content_version_id).where(Message.contact_id == who)).first()
    with transaction():
        batch_id = db.session.scalars(select(Batch.id).where(Batch.kind == "transactional")).first()
        for number in range(3):
            db.session.execute(
                text("""
                    insert into message (batch_id, contact_id, content_version_id, campaign_id, created_at)
                    values (:batch, :who, :version, :campaign, :now)
                """),
                {"batch": batch_id, "who": who, "version": version, "campaign": 900 + number, "now": time.now()},
            )  # fmt: skip
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


def test_a_new_yes_continues_after_the_last_email(outbox, app, clock):
    who = enrolled()
    plan()
    deliver_all(app)
    with transaction():
        sequences.exit_people(contact_ids=[who], reason="opted_out")
        record_id = db.session.scalar(text("select max(id) from consent_record"))
        again = sequences.enrol(contact_id=who, topic="prospect_edu", record_id=record_id)
    assert db.session.get(Enrolment, again).step == 1


def test_sending_again_asks_the_same(outbox, app):
    audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        bring("batch", "failed", where="kind = 'campaign'")
        campaigns.pause(campaign_id)
        batch_id = db.session.scalars(select(Batch.id).where(Batch.kind == "campaign")).one()
        service.decide([batch_id], send_again=True)
    deliver(app)
    assert outbox.sent == []
