"""From consent to the last email: the planner, the claim, the send and the record on a real database."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.consent import consent_texts
from crm.consent import service as consent
from crm.contacts import service as contacts
from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.mailer import Fate, Outcome
from crm.messages import service
from crm.messages.engine import claim, record, sweep
from crm.messages.engine.deliver import deliver
from crm.messages.limits import switches
from crm.messages.models import Batch, Message
from crm.sequences import planner
from crm.sequences import service as sequences
from crm.sequences.models import EmailSequence, Enrolment
from crm.staff.models import Alert
from tests.support import factories as support_factories
from tests.support.states import bring

DAY = 86_400


def enrolled(**values) -> int:
    """A person who said yes; the confirmation email is taken out of the way. Returns the contact id."""
    with transaction():
        who = support_factories.contact(**values)
        support_factories.opted_in(who)
        bring("batch", "accepted", where="kind = 'transactional' and state = 'ready'")
        return who.id


def plan() -> int:
    with transaction():
        return planner.plan_due()


def deliver_all(app) -> list[str]:
    ids = db.session.scalars(select(Batch.id).where(Batch.state == "ready").order_by(Batch.id)).all()
    db.session.commit()
    return [deliver(batch_id, settings=app.settings) for batch_id in ids]


def states() -> list[tuple[str, str | None, str | None]]:
    """(batch state, message's own state, reason) of every sequence message, oldest first."""
    db.session.expire_all()
    return [
        (row[0], row[1], row[2])
        for row in db.session.execute(
            select(Batch.state, Message.state, Message.reason)
            .join(Message, Message.batch_id == Batch.id)
            .where(Batch.kind == "sequence")
            .order_by(Message.id)
        )
    ]


def test_six_emails_in_order_then_done(outbox, app, clock):
    enrolled(language="es")
    for _ in range(30):
        plan()
        deliver_all(app)
        clock.shift(DAY)
    subjects = [envelope.subject for envelope, _ in outbox.sent]
    assert len(subjects) == len(set(subjects)) == 6
    assert {envelope.language for envelope, _ in outbox.sent} == {"es"}
    assert db.session.execute(select(Enrolment.state, Enrolment.step)).all() == [("completed", 102)]
    assert plan() == 0


def test_what_a_recipient_gets(outbox, app):
    who = enrolled()
    plan()
    assert deliver_all(app) == ["accepted"]
    envelope, [recipient] = outbox.sent[0]
    assert recipient.email == "ana@patients.example"
    assert recipient.unsubscribe_url.startswith("http://localhost:8000/u/")
    assert envelope.list_unsubscribe
    assert not {"ketamine", "pain", "dolor", "ketamina"} & set(envelope.subject.lower().split())
    message = db.session.scalars(select(Message).where(Message.contact_id == who, Message.step == 0)).one()
    assert message.consent_record_id is not None
    assert recipient.message_id == message.id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda who: consent.withdraw(contact_id=who, topic=None, source="one_click"), "opted_out"),
        (lambda who: contacts.set_clinical_stop(contact_id=who, reason="deceased"), "stopped"),
        (lambda who: sequences.exit_people(contact_ids=[who], reason="booked"), "booked"),
    ],
)
def test_changes_after_planning_prevent_sending(outbox, app, change, reason):
    who = enrolled()
    plan()
    with transaction():
        change(who)
    deliver_all(app)
    assert outbox.sent == []
    assert states()[0][1:] == ("skipped", reason)
    assert db.session.scalar(select(Enrolment.state)) == "exited"


def test_consent_is_asked_again_at_the_claim(outbox, app):
    """Even when nobody told the queue: the claim itself looks at the person once more."""
    who = enrolled()
    plan()
    with transaction():
        db.session.execute(
            text("update contact set snooze_until = '2027-01-01Z' where id = :id"), {"id": who}
        )
    deliver_all(app)
    assert outbox.sent == []
    assert states() == [("cancelled", "skipped", "snoozed")]


def test_two_people_at_one_address_get_a_call_each(outbox, app, clock):
    enrolled()
    clock.shift(DAY)  # an address is asked for its yes once a day
    enrolled(first_name="Ben", birth_date="2015-01-01")
    plan()
    deliver_all(app)
    deliver_all(app)
    assert sorted(recipient.message_id for _, people in outbox.sent for recipient in people) == sorted(
        db.session.scalars(select(Message.id).where(Message.step == 0))
    )


def test_a_thousand_in_one_call_and_few_statements(outbox, app, statements):
    with transaction():
        ids = support_factories.many_contacts(1_200, at=support_factories.clock.now())
        for contact_id in ids:
            db.session.execute(
                text("""
                    with r as (insert into consent_record (contact_id, topic, action, language, source, actor, at, address_index)
                        select id, 'prospect_edu', 'granted', 'en', 'test', 'test', :now, email_index from contact
                        where id = :id returning id, contact_id, at, address_index)
                    insert into consent_state (contact_id, topic, granted, record_id, at, address_index)
                    select contact_id, 'prospect_edu', true, id, at, address_index from r
                """),
                {"id": contact_id, "now": support_factories.clock.now()},
            )
        db.session.execute(
            text("""
                insert into enrolment (contact_id, sequence_id, version_id, state, step, due_at, anchor_at, entered_at, send_now)
                select c.id, s.id, v.id, 'active', 0, :now, :now, :now, false
                from contact c, sequence s join sequence_version v on v.sequence_id = s.id where s.key = 'contact-request'
            """),
            {"now": support_factories.clock.now()},
        )
    with statements() as counted:
        assert plan() == 1_200
        deliver_all(app)
    assert sorted(len(people) for _, people in outbox.sent) == [200, 1_000]
    assert counted.total <= 40


@pytest.mark.parametrize(
    ("answer", "batch", "sent"),
    [
        (Outcome(fate=Fate.TRY_AGAIN, error="503"), "ready", 0),
        (Outcome(fate=Fate.THROTTLED, retry_at=None, error="429"), "ready", 0),
        (Outcome(fate=Fate.REFUSED, error="400 bad"), "failed", 0),
        (Outcome(fate=Fate.UNKNOWN, error="no answer"), "uncertain", 1),
        (Outcome(fate=Fate.UNAUTHORISED, error="401"), "ready", 0),
    ],
)
def test_every_answer_has_its_consequence(outbox, app, answer, batch, sent):
    enrolled()
    plan()
    outbox.answers.append(answer)
    deliver_all(app)
    assert states() == [(batch, None, None)]
    assert len(outbox.sent) == sent


def test_resuming_keeps_the_pause_of_the_provider(outbox, app, clock):
    enrolled()
    plan()
    with transaction():
        switches.stop(by="Kim", reason="Holiday")
        switches.throttle(until=clocks.now() + timedelta(minutes=5))
        switches.release(by="Kim")
    assert deliver_all(app) == ["nothing"]
    clock.shift(300)
    assert deliver_all(app) == ["accepted"]


def test_a_refused_key_stops_everything_and_loses_nothing(outbox, app, clock):
    enrolled()
    plan()
    outbox.answers.append(Outcome(fate=Fate.UNAUTHORISED, error="401"))
    assert deliver_all(app) == ["ready"]
    assert switches.get().stopped_at is not None
    assert db.session.scalar(select(Alert.key).where(Alert.key == "provider-key")) == "provider-key"
    assert deliver_all(app) == ["nothing"]
    with transaction():
        switches.release(by="staff:1")
    clock.shift(10)
    assert deliver_all(app) == ["accepted"]
    assert len(outbox.sent) == 1


def test_one_bad_address_does_not_hold_up_the_others(outbox, app):
    enrolled()
    enrolled(email="ben@patients.example", first_name="Ben")
    plan()
    outbox.answers.append(
        Outcome(fate=Fate.REFUSED_SOME, refused=(0,), error="400 does not contain a valid address")
    )
    deliver_all(app)
    deliver_all(app)
    [(_, [left])] = outbox.sent
    assert left.email == "ben@patients.example"
    assert [state[1] for state in states()] == ["failed", None]


def test_a_crashed_attempt_is_unconfirmed_and_never_sent_again(outbox, app, clock):
    enrolled()
    plan()
    batch_id = db.session.scalar(select(Batch.id).where(Batch.kind == "sequence"))
    with transaction():
        assert claim.claim_batch(batch_id, clinic=app.settings.clinic, public_url=app.settings.public_url)
    clock.shift(120)
    with transaction():
        assert sweep.run_sweep(production=False)["uncertain"] == 1
    assert deliver_all(app) == []
    assert states() == [("uncertain", None, None)]
    with transaction():
        assert service.decide([batch_id], send_again=True) == 1
    assert deliver_all(app) == ["accepted"]


def test_a_late_answer_of_the_same_attempt_still_counts(outbox, app, clock):
    enrolled()
    plan()
    batch_id = db.session.scalar(select(Batch.id).where(Batch.kind == "sequence"))
    with transaction():
        attempt = claim.claim_batch(batch_id, clinic=app.settings.clinic, public_url=app.settings.public_url)
    clock.shift(120)
    with transaction():
        sweep.run_sweep(production=False)
    with transaction():
        record.apply_outcome(attempt, Outcome(fate=Fate.ACCEPTED, provider_id="x"))
    assert states() == [("accepted", None, None)]


def test_an_attempt_with_another_token_cannot_record(outbox, app):
    enrolled()
    plan()
    batch_id = db.session.scalar(select(Batch.id).where(Batch.kind == "sequence"))
    with transaction():
        attempt = claim.claim_batch(batch_id, clinic=app.settings.clinic, public_url=app.settings.public_url)
    stranger = claim.Attempt(
        **{name: getattr(attempt, name) for name in attempt.__dataclass_fields__} | {"attempt": uuid.uuid4()}
    )
    with transaction():
        record.apply_outcome(stranger, Outcome(fate=Fate.ACCEPTED, provider_id="x"))
    assert states() == [("sending", None, None)]


def test_a_changed_byte_voids_the_approval(outbox, app):
    enrolled()
    plan()
    with transaction():
        db.session.execute(text("alter table content_version disable trigger content_version_fixed"))
        version = db.session.scalar(select(Batch.content_version_id).where(Batch.kind == "sequence"))
        db.session.execute(
            text("update content_version set source = source || ' ' where id = :id"), {"id": version}
        )
    assert deliver_all(app) == ["nothing"]
    assert states() == [("held", None, None)]
    assert db.session.scalar(select(Alert.level).where(Alert.key == f"content:{version}")) == "warning"


def test_missing_language_holds_until_release(outbox, app):
    enrolled(language="es")
    with transaction():
        db.session.execute(
            text("update content_version set state = 'retired' where language = 'es' and subject <> ''")
        )
    plan()
    assert db.session.execute(select(Enrolment.state, Enrolment.reason)).all() == [
        ("held", "content_not_approved")
    ]
    with transaction():
        db.session.execute(text("update content_version set state = 'approved' where state = 'retired'"))
        assert sequences.release_held() == 1
    assert plan() == 1
    assert deliver_all(app) == ["accepted"]


def test_pause_and_resume_keep_the_remaining_wait(outbox, app, clock):
    enrolled()
    plan()
    deliver_all(app)
    sequence_id = db.session.scalar(select(EmailSequence.id).where(EmailSequence.key == "contact-request"))
    due = db.session.scalar(select(Enrolment.due_at))
    left = due - support_factories.clock.now()
    with transaction():
        assert sequences.pause(sequence_id) == 1
    clock.shift(10 * DAY)
    assert plan() == 0
    with transaction():
        assert sequences.resume(sequence_id) == 1
    db.session.expire_all()
    assert (
        abs(
            db.session.scalar(select(Enrolment.due_at)) - support_factories.clock.now() - left
        ).total_seconds()
        < 2
    )


def test_mail_about_patients_needs_a_baa_or_a_named_person(outbox, app):
    with transaction():
        who = support_factories.contact()
        made = consent.request_confirmation(
            contact=who,
            topics=["referred_edu"],
            kind="invitation",
            wording=consent_texts.current("referral-attestation", "en"),
            language="en",
            source="api",
        )
    assert made is not None
    assert deliver_all(app) == []
    db.session.expire_all()
    assert db.session.execute(
        select(Message.state, Batch.error).join(Batch, Batch.id == Message.batch_id)
    ).all() == [("blocked_policy", "blocked_policy")]
    with transaction():
        switches.attest_phi(transport="sendgrid", wording="v1", by="staff:1")
        other = support_factories.contact(email="ben@patients.example", first_name="Ben")
        consent.request_confirmation(
            contact=other,
            topics=["referred_edu"],
            kind="invitation",
            wording=consent_texts.current("referral-attestation", "en"),
            language="en",
            source="api",
        )
    assert deliver_all(app) == ["accepted"]


def test_caps_hold_back_and_let_go(outbox, app, clock):
    enrolled()
    enrolled(email="ben@patients.example", language="es")
    plan()
    with transaction():
        db.session.execute(text("update sending_control set per_minute = 1"))
    assert sorted(deliver_all(app)) == ["accepted", "nothing"]
    assert deliver_all(app) == ["nothing"]
    clock.shift(60)
    assert deliver_all(app) == ["accepted"]


def test_a_copied_database_sends_nothing(outbox, app):
    with transaction():
        db.session.execute(text("update sending_control set instance = 'elsewhere/1'"))
    enrolled()
    plan()
    with transaction():
        sweep.run_sweep(production=True)
    assert deliver_all(app) == ["nothing"]
    assert "copy" in switches.get().stop_reason or "copied" in switches.get().stop_reason


def test_too_late_is_listed_not_sent(outbox, app, clock):
    enrolled()
    plan()
    clock.shift(4 * DAY)
    with transaction():
        assert sweep.run_sweep(production=False)["too_late"] == 1
    assert deliver_all(app) == []
    assert states() == [("failed", None, None)]


def test_the_sweep_queues_jobs_that_redis_lost(outbox, queued_jobs, redis, clock):
    enrolled()
    plan()
    assert ("messages.deliver" in [name for name, *_ in queued_jobs()]) is True
    redis.flushdb()
    assert queued_jobs() == []
    with transaction():
        sweep.run_sweep(production=False)
    assert "messages.deliver" in [name for name, *_ in queued_jobs()]
    count = len(queued_jobs())
    with transaction():
        sweep.run_sweep(production=False)
    assert len(queued_jobs()) == count
