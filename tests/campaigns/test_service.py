"""A broadcast from its draft to its last batch: everyone once, and the rest listed with the reason."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from crm.campaigns import audience as freezing
from crm.campaigns import queries, rules, service
from crm.campaigns.models import Campaign
from crm.consent import service as consenting
from crm.contacts import service as contacts
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid
from crm.mailer import Fate, Outcome
from crm.mailer.memory import MemoryMailer
from crm.messages import transports
from crm.messages.engine import sweep
from crm.messages.limits import quiet_hours
from crm.messages.models import Batch, Message
from crm.staff.models import Alert
from jobs.campaigns import look_after
from tests.campaigns.conftest import (
    ITEM,
    audience,
    consent,
    deliver,
    emails,
    freeze,
    launched,
    progress,
    reached,
)
from tests.support import factories as support_factories
from tests.support import states

HOUR = 3_600
PATIENTS = "referred-patient/01-received"


def reasons(campaign_id: int) -> dict[int, str | None]:
    return {one.contact_id: one.reason for one in queries.not_sent(campaign_id, limit=1_000).rows}


@pytest.mark.parametrize(("first", "largest"), [(1, 1), (7, 50), (4_000, 64_000)])
def test_everyone_gets_it_once_for_any_slices(outbox, app, first, largest):
    people = audience(60) + audience(40, prefix="eva", language="es", time_zone="America/New_York")
    campaign_id = launched()
    slices = freeze(campaign_id, first=first, largest=largest)
    assert slices > 1 or first > 100
    deliver(app)
    assert reached(outbox) == emails(people)
    assert progress(campaign_id) == rules.Progress(people=100, accepted=100)
    assert sorted(len(people) for _, people in outbox.sent) == [40, 60]  # full, whatever the slices
    assert {envelope.language for envelope, _ in outbox.sent} == {"en", "es"}


def test_a_crashed_slice_is_repeated_without_duplicates(outbox, app):
    people = audience(30)
    campaign_id = launched()
    with transaction():
        assert freezing.freeze_slice(campaign_id, first=10, largest=10)
    with pytest.raises(KeyboardInterrupt):
        die_in_a_slice(campaign_id)
    freeze(campaign_id, first=10, largest=10)
    with transaction():
        assert not freezing.freeze_slice(campaign_id)  # a double wish finds nothing to do
    deliver(app)
    assert reached(outbox) == emails(people)


def die_in_a_slice(campaign_id: int) -> None:
    with transaction():
        freezing.freeze_slice(campaign_id, first=10, largest=10)
        raise KeyboardInterrupt


def test_what_redis_forgot_is_asked_again(outbox, queued_jobs, redis):
    audience(1)
    campaign_id = launched()
    assert ("campaigns.freeze", campaign_id) in queued_jobs()
    redis.flushdb()
    with transaction():
        look_after()
    assert ("campaigns.freeze", campaign_id) in queued_jobs()
    freeze(campaign_id)
    assert ("messages.deliver",) in queued_jobs()


def test_the_audience_is_of_the_launch(outbox, app, clock):
    before, later = audience(3), audience(2, prefix="later")
    with transaction():
        db.session.execute(text("delete from consent_state where contact_id = any(:ids)"), {"ids": later})
    campaign_id = launched()
    clock.shift(60)
    with transaction():
        consent(later, at=support_factories.clock.now())
    audience(2, prefix="new")
    with transaction():
        consenting.withdraw(contact_id=before[0], topic="prospect_edu", source="one_click")
    freeze(campaign_id)
    deliver(app)
    assert reached(outbox) == emails(before[1:])


def test_a_no_after_freezing_counts_and_is_listed(outbox, app):
    people = audience(3)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        consenting.withdraw(contact_id=people[0], topic=None, source="one_click")
    deliver(app)
    assert reached(outbox) == emails(people[1:])
    assert progress(campaign_id) == rules.Progress(people=3, accepted=2, left_out=1)
    assert reasons(campaign_id) == {people[0]: "opted_out"}


def test_a_language_without_approved_version_is_skipped(outbox, app):
    english, spanish = audience(2), audience(2, prefix="eva", language="es")
    with transaction():
        db.session.execute(
            text("update content_version set state = 'retired' where language = 'es' and subject <> ''")
        )
        campaign_id = service.create(name="News", item=ITEM)
        assert queries.preflight(queries.get(campaign_id)) == queries.Preflight(
            people=2, skipped={"no_translation": 2}
        )
        service.launch(campaign_id)
    freeze(campaign_id)
    deliver(app)
    assert reached(outbox) == emails(english)
    assert reasons(campaign_id) == dict.fromkeys(spanish, "no_translation")


def test_tags_choose_and_exclude(outbox, app):
    people = audience(6)
    with transaction():
        for contact_id, tag in [(0, "a"), (1, "a"), (1, "b"), (2, "b"), (3, "c")]:
            db.session.execute(
                text("insert into contact_tag values (:id, :tag, :now)"),
                {"id": people[contact_id], "tag": tag, "now": support_factories.clock.now()},
            )
        campaign_id = service.create(name="News", item=ITEM, tags=["a", "c"], exclude_tags=["b"])
        assert queries.preflight(queries.get(campaign_id)) == queries.Preflight(
            people=2, skipped={"excluded": 1}
        )
        service.launch(campaign_id)
    freeze(campaign_id)
    deliver(app)
    assert reached(outbox) == emails([people[0], people[3]])


def test_preflight_counts_reasons_in_one_statement(outbox, statements):
    people = audience(5)
    with transaction():
        db.session.execute(text("update contact set stop_reason = 'x' where id = :id"), {"id": people[0]})
        db.session.execute(
            text("update contact set snooze_until = :now + interval '1 day' where id = :id"),
            {"id": people[1], "now": support_factories.clock.now()},
        )
        campaign = queries.get(service.create(name="News", item=ITEM))
        with statements() as counted:
            found = queries.preflight(campaign)
    assert found == queries.Preflight(people=3, skipped={"snoozed": 1, "stopped": 1})
    assert sum("group by reason" in one for one in counted.texts) == 1
    assert counted.total <= 3


def test_pause_resume_and_cancel_keep_count(outbox, app):
    people = audience(25)
    campaign_id = launched()
    with transaction():
        freezing.freeze_slice(campaign_id, first=5, largest=5)
    with transaction():
        service.pause(campaign_id)
    freeze(campaign_id, first=5, largest=5)  # the audience is recorded all the same
    assert deliver(app) == 0
    assert progress(campaign_id) == rules.Progress(people=25, waiting=25)
    with transaction():
        service.resume(campaign_id)
    assert deliver(app) == 1
    assert reached(outbox) == emails(people)
    with transaction():
        look_after()
    assert db.session.scalar(select(Campaign.state)) == "finished"


def test_cancelling_lists_who_was_missed_and_resending_reaches_them(outbox, app):
    first, second = audience(3), audience(4, prefix="eva", language="es")
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():  # only one of the two batches leaves
        db.session.execute(text("update batch set not_before = :at where language = 'es'"), {"at": later()})
    deliver(app)
    with transaction():
        assert service.cancel(campaign_id) == rules.Progress(people=7, accepted=3, cancelled=4)
    assert sorted(reasons(campaign_id)) == second
    assert reached(outbox) == emails(first)
    with transaction():
        again = service.resend(campaign_id)
        service.launch(again)
    with pytest.raises(Conflict), transaction():
        service.resend(campaign_id)
    freeze(again, first=2, largest=2)
    deliver(app)
    assert reached(outbox) == emails(first + second)
    assert progress(again) == rules.Progress(people=4, accepted=4)


def later() -> datetime:
    return support_factories.clock.now() + timedelta(hours=1)


def test_cancelled_while_freezing_knows_the_whole_audience(outbox, app):
    people = audience(20)
    campaign_id = launched()
    with transaction():
        freezing.freeze_slice(campaign_id, first=5, largest=5)
        service.cancel(campaign_id)
    freeze(campaign_id, first=5, largest=5)
    assert deliver(app) == 0
    assert sorted(reasons(campaign_id)) == people
    assert progress(campaign_id) == rules.Progress(people=20, cancelled=20)


@pytest.mark.parametrize("fate", [Fate.REFUSED, Fate.UNKNOWN])
def test_resend_only_for_mail_surely_not_sent(outbox, app, fate):
    people = audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    outbox.answers.append(Outcome(fate=fate, error="x"))
    deliver(app)
    sent = reached(outbox)
    with transaction():
        look_after()
        again = service.resend(campaign_id)
        service.launch(again)
    freeze(again)
    deliver(app)
    assert reached(outbox) == emails(people)
    assert sent == (emails(people) if fate is Fate.UNKNOWN else [])
    assert not db.session.scalars(select(Batch.id).where(Batch.state == "failed")).all()


def test_several_refused_batches_pause_it(outbox, app):
    audience(3)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        db.session.execute(
            text("""
                insert into batch (kind, stream, transport, content_version_id, language, campaign_id, size, state,
                    created_at, not_before, state_at, attempts)
                select kind, stream, transport, content_version_id, language, campaign_id, 0, 'failed', created_at,
                    not_before, state_at, 1 from batch, generate_series(1, 3) where campaign_id = :id
            """),
            {"id": campaign_id},
        )
        look_after()
    assert db.session.scalar(select(Campaign.state)) == "paused"
    assert deliver(app) == 0


def test_quiet_hours_of_the_recipient(outbox, app, clock):
    """It is 9:00 in Los Angeles and 18:00 in Lagos when it begins; at 20:30 in Lagos nothing more leaves there."""
    here, tokyo = audience(1), audience(1, prefix="abe", time_zone="Asia/Tokyo")
    lagos = audience(1, prefix="ola", time_zone="Africa/Lagos", language="es")
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        service.pause(campaign_id)
    clock.shift(2.5 * HOUR)
    with transaction():
        service.resume(campaign_id)
    deliver(app)
    assert reached(outbox) == emails(here)
    with transaction():
        sweep.run_sweep(production=False)
    moved = {
        zones[0]: at.astimezone(ZoneInfo(zones[0])).hour
        for zones, at in db.session.execute(
            select(Batch.time_zones, Batch.not_before).where(Batch.state == "ready")
        )
    }
    assert moved == {"Asia/Tokyo": 8, "Africa/Lagos": 8}
    clock.shift(12 * HOUR)
    deliver(app)
    assert reached(outbox) == sorted(emails(here + tokyo + lagos))


def test_what_is_too_late_does_not_leave(outbox, app, clock):
    people = audience(2)
    campaign_id = launched(late_after_hours=2)
    freeze(campaign_id)
    with transaction():
        service.pause(campaign_id)
    clock.shift(3 * HOUR)
    with transaction():
        service.resume(campaign_id)
        sweep.run_sweep(production=False)
    assert deliver(app) == 0
    assert reasons(campaign_id) == dict.fromkeys(people, "too late to be sent")


def test_a_later_launch_waits_for_its_hour(outbox, queued_jobs, clock):
    audience(1)
    with transaction():
        campaign_id = service.create(name="News", item=ITEM)
        service.launch(campaign_id, at=support_factories.clock.now() + timedelta(hours=1))
        look_after()
    assert ("campaigns.freeze", campaign_id) not in queued_jobs()
    clock.shift(HOUR)
    with transaction():
        look_after()
    assert ("campaigns.freeze", campaign_id) in queued_jobs()


def test_frequency_cap_counts_broadcasts(outbox, app):
    audience(1)
    for number in range(4):
        freeze(launched(name=f"News {number}", repeat_allowed=True))
        deliver(app)
    assert len(outbox.sent) == 3
    assert db.session.scalars(select(Message.reason).where(Message.state == "skipped")).all() == [
        "frequency_cap"
    ]


@pytest.mark.parametrize(
    "values", [{"item": "email/confirmation"}, {"item": "no/such"}, {"name": " "}, {"late_after_hours": 0}]
)
def test_what_cannot_be_a_campaign_is_refused(outbox, values):
    with pytest.raises(Invalid), transaction():
        service.create(**{"name": "News", "item": ITEM, **values})


@pytest.mark.parametrize(
    ("verb", "state"),
    [("pause", "draft"), ("resume", "sending"), ("cancel", "finished"), ("launch", "sending")],
)
def test_verbs_are_refused_in_other_states(outbox, verb, state):
    with transaction():
        campaign_id = service.create(name="News", item=ITEM)
        states.bring("campaign", state)
    with pytest.raises(Conflict), transaction():
        getattr(service, verb)(campaign_id)


@given(
    moment=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(["America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland", "Europe/London", "UTC"]),
)
def test_quiet_hours_end_at_eight_local(moment, zone):
    until = quiet_hours.quiet_until(moment, ZoneInfo(zone))
    here = moment.astimezone(ZoneInfo(zone))
    if until is None:
        assert 8 <= here.hour < 20
    else:
        local = until.astimezone(ZoneInfo(zone))
        assert (local.hour, local.minute) == (8, 0)
        assert timedelta() < until - moment <= timedelta(hours=13)
        assert not 8 <= here.hour < 20


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland"])
def test_sql_has_the_same_quiet_hours(edge, zone):
    """Each hour of the days on which the clocks change, and of the days between."""
    start = datetime(2026, 3, 7, 0, 30, tzinfo=UTC)
    moments = [start + timedelta(hours=n) for n in range(72)]
    moments += [moment + timedelta(days=238) for moment in moments]
    statement = text(f"select {quiet_hours.opens('cast(:zone as text)')}")
    for now in moments:
        expected = quiet_hours.quiet_until(now, ZoneInfo(zone))
        found = db.session.scalar(statement, {"now": now, "zone": zone})
        assert found == expected, now


def tag(contact_id: int, name: str) -> None:
    with transaction():
        contacts.add_tag(contact_id=contact_id, tag=name)


def test_tags_are_compared_as_they_are_stored(outbox, app):
    people = audience(2)
    tag(people[0], "Do Not Mail")
    freeze(launched(exclude_tags=["  DO NOT  Mail"]))
    deliver(app)
    assert reached(outbox) == emails(people[1:])


@pytest.mark.parametrize("field", ["tags", "exclude_tags"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("do not male", "Did you mean “do not mail”?"),
        ("zzz", "No one has the tag “zzz”."),
        ("a/b", "Use up to"),
    ],
)
def test_an_unknown_tag_is_refused_with_the_nearest(outbox, field, given, words):
    people = audience(2)
    tag(people[0], "do not mail")
    tag(people[1], "vip")
    with pytest.raises(Invalid) as refused, transaction():
        service.create(name="News", item=ITEM, **{field: [given]})
    assert words in refused.value.fields[field][0]


def test_launch_is_refused_while_no_transport_may_carry_it(outbox, monkeypatch):
    """Educational email to patients: the only transport has no BAA, and no one took responsibility."""
    with transaction():
        campaign_id = service.create(name="News", item=PATIENTS)
    with pytest.raises(Conflict, match="No mail transport may carry this email"), transaction():
        service.launch(campaign_id)
    transports.use({"smtp": MemoryMailer(name="smtp", has_baa=True)})
    with transaction():
        service.launch(campaign_id)


def test_a_due_broadcast_waits_while_no_transport_may_carry_it(outbox, clock):
    transports.use({"smtp": MemoryMailer(name="smtp", has_baa=True)})
    with transaction():
        campaign_id = service.create(name="News", item=PATIENTS)
        service.launch(campaign_id, at=later())
    transports.use({"sendgrid": MemoryMailer(name="sendgrid")})
    clock.shift(HOUR)
    look_after()
    assert db.session.scalar(select(Campaign.state)) == "scheduled"
    alert = select(Alert.closed_at).where(Alert.key == f"campaign-refused:{campaign_id}")
    assert db.session.execute(alert).scalar_one() is None
    transports.use({"smtp": MemoryMailer(name="smtp", has_baa=True)})
    look_after()
    assert db.session.scalar(select(Campaign.state)) == "freezing"
    assert db.session.execute(alert).scalar_one() is not None


def test_a_transport_that_goes_away_after_the_launch_raises_an_alert(outbox):
    transports.use({"smtp": MemoryMailer(name="smtp", has_baa=True)})
    with transaction():
        who = support_factories.contact()
        support_factories.opted_in(who, "referred_edu")
        campaign_id = service.create(name="News", item=PATIENTS)
        service.launch(campaign_id)
    transports.use({"sendgrid": MemoryMailer(name="sendgrid")})
    freeze(campaign_id)
    assert db.session.scalar(select(Alert.level).where(Alert.key == "blocked-policy")) == "warning"
    missed = queries.not_sent(campaign_id).rows
    assert [(one.state, one.reason) for one in missed] == [("failed", "blocked_policy")]


def test_a_discarded_draft_to_the_rest_does_not_block_another(outbox):
    audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        service.cancel(campaign_id)
        service.cancel(service.resend(campaign_id))
        again = service.resend(campaign_id)
    with pytest.raises(Conflict), transaction():
        service.resend(campaign_id)
    with transaction():
        service.launch(again)
        service.cancel(again)
    with (
        pytest.raises(Conflict),
        transaction(),
    ):  # it may have reached some of them: its own rest is the one to take
        service.resend(campaign_id)


def test_a_resumed_broadcast_goes_on_after_refused_batches(outbox, app, clock):
    people = audience(3)
    campaign_id = launched()
    freeze(campaign_id)
    refuse_batches(campaign_id)
    look_after()
    assert db.session.scalar(select(Campaign.state)) == "paused"
    clock.shift(60)
    with transaction():
        service.resume(campaign_id)
    look_after()
    assert db.session.scalar(select(Campaign.state)) == "sending"
    clock.shift(60)
    refuse_batches(campaign_id)
    look_after()
    assert db.session.scalar(select(Campaign.state)) == "paused"
    with transaction():
        service.resume(campaign_id)
    deliver(app)
    assert reached(outbox) == emails(people)


def refuse_batches(campaign_id: int) -> None:
    with transaction():
        db.session.execute(
            text("""
                insert into batch (kind, stream, transport, content_version_id, language, campaign_id, size, state,
                    created_at, not_before, state_at, attempts)
                select kind, stream, transport, content_version_id, language, campaign_id, 0, 'failed', :now, :now, :now, 1
                from (select * from batch where campaign_id = :id and state <> 'failed' limit 1) b, generate_series(1, 3)
            """),
            {"id": campaign_id, "now": support_factories.clock.now()},
        )
