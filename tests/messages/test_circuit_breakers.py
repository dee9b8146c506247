"""Circuit breakers: too many bounces or complaints stop a stream; staff resume it; old events do not count again."""

from dataclasses import replace

import pytest
from sqlalchemy import insert, select

from crm.audit.service import acting
from crm.campaigns import service as campaigns
from crm.campaigns.models import Campaign
from crm.content.models import ContentVersion
from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.messages import alert_emails, rules
from crm.messages.engine.deliver import deliver
from crm.messages.limits import circuit_breakers, switches
from crm.messages.models import Batch, Message, StreamStop
from crm.staff import alerts
from crm.staff.models import Alert
from crm.tracking.models import ProviderEvent
from jobs.campaigns import look_after
from tests.campaigns.conftest import ITEM


@pytest.mark.parametrize(
    ("accepted", "bounced", "complained", "verdict"),
    [
        (199, 199, 199, None),
        (200, 3, 0, None),
        (200, 4, 0, "bounces: 4 of 200"),
        (1_000, 0, 1, "complaints: 1 of 1,000"),
        (1_001, 0, 1, None),
        (10_000, 199, 9, None),
        (10_000, 200, 9, "bounces: 200 of 10,000"),
        (10_000, 200, 10, "complaints: 10 of 10,000"),
    ],
)
def test_the_limits(accepted, bounced, complained, verdict):
    assert rules.breaker(accepted=accepted, bounced=bounced, complained=complained) == verdict


def left(
    version: int,
    *,
    size: int = 200,
    bad: int = 0,
    kind: str = "bounced",
    campaign_id: int | None = None,
    stream: str = "prospect_edu",
) -> None:
    """A batch that was accepted now, and what came back about some of its messages."""
    now = clocks.now()
    with transaction():
        batch = Batch(
            kind="campaign" if campaign_id else "sequence", stream=stream, transport="sendgrid",
            content_version_id=version, language="en", topic="prospect_edu", campaign_id=campaign_id, size=size,
            state="accepted", created_at=now, not_before=now, state_at=now,
        )  # fmt: skip
        db.session.add(batch)
        db.session.flush()
        rows = [
            {"batch_id": batch.id, "contact_id": 10**6 + batch.id * 1_000 + n, "content_version_id": version,
             "campaign_id": campaign_id, "created_at": now}
            for n in range(bad)
        ]  # fmt: skip
        for message_id in db.session.scalars(insert(Message).returning(Message.id), rows) if rows else ():
            for copy in range(2):  # told twice, counted once
                event = {"event_id": f"{message_id}-{copy}", "message_id": message_id, "kind": kind}
                db.session.execute(insert(ProviderEvent).values(**event, at=now, received_at=now))


@pytest.fixture
def version(outbox):
    """A first email, with a content version."""
    with transaction():
        campaign_id = campaigns.create(name="News", item=ITEM)
        item_id = db.session.scalar(select(Campaign.item_id).where(Campaign.id == campaign_id))
    return db.session.scalar(select(ContentVersion.id).where(ContentVersion.item_id == item_id).limit(1))


def trip() -> list[str]:
    with transaction():
        return circuit_breakers.trip_streams()


def test_a_stream_stops_until_a_person_resumes_it(version, clock):
    left(version, bad=3)
    assert trip() == []
    left(version, size=10, bad=2)
    assert trip() == ["prospect_edu"]
    assert db.session.scalar(select(StreamStop.reason)) == "bounces: 5 of 210"
    assert db.session.scalar(select(Alert.level).where(Alert.key == "stream:prospect_edu")) == "danger"
    clock.shift(60)
    with transaction():
        switches.resume_stream("prospect_edu")
    assert trip() == []
    clock.shift(60)
    left(version, size=199, bad=50)
    assert trip() == []  # too little since then to tell
    left(version, size=1)
    assert trip() == ["prospect_edu"]


def test_what_is_older_than_a_week_does_not_count(version, clock):
    left(version, bad=4)
    clock.shift(7 * 86_400 + 1)
    assert trip() == []


def test_complaints_near_the_limit_raise_an_alert(version):
    left(version, size=1_200, bad=1, kind="complained")
    assert trip() == []
    assert db.session.scalar(select(Alert.level).where(Alert.key == "stream-near:prospect_edu")) == "warning"
    left(version, size=1, bad=1, kind="complained")
    assert trip() == ["prospect_edu"]


def test_a_campaign_pauses_alone_and_its_resend_counts_anew(version, clock):
    def look() -> str:
        with transaction():
            look_after()
        return db.session.scalar(select(Campaign.state).where(Campaign.id == campaign_id))

    with transaction():
        campaign_id = campaigns.create(name="News", item=ITEM)
        campaigns.launch(campaign_id)
    left(version, size=9_800)  # the rest of the stream is well
    left(version, size=200, bad=3, campaign_id=campaign_id)
    assert look() == "freezing"
    left(version, size=5, bad=2, campaign_id=campaign_id)
    assert look() == "paused"
    alert = db.session.execute(
        select(Alert.level, Alert.text).where(Alert.key == f"campaign:{campaign_id}")
    ).one()
    assert alert == ("danger", "A broadcast was paused automatically: bounces: 5 of 205.")
    assert trip() == []
    clock.shift(60)
    with transaction():
        campaigns.resume(campaign_id)
    assert look() == "freezing"
    assert db.session.scalar(select(Alert.id).where(Alert.closed_at.is_(None))) is None
    clock.shift(60)
    left(version, size=200, bad=4, campaign_id=campaign_id)
    assert look() == "paused"


@pytest.mark.parametrize("stream", ["transactional", "transactional_phi"])
def test_transactional_stream_raises_an_alert_and_goes_on(version, clock, stream):
    def texts() -> list[str]:
        rates = select(Alert.text).where(Alert.key == f"stream-rates:{stream}", Alert.closed_at.is_(None))
        with transaction():
            return list(db.session.scalars(rates))

    left(version, size=267, bad=1, kind="complained", stream=stream)
    assert trip() == []
    assert db.session.scalars(select(StreamStop.stream)).all() == []
    assert ["complaints: 1 of 267" in text for text in texts()] == [True]
    with transaction(), acting("person"):
        alerts.close(f"stream-rates:{stream}")
    trip()
    assert texts() == []  # a person has seen it
    clock.shift(86_401)
    trip()
    assert len(texts()) == 1
    clock.shift(7 * 86_400)
    trip()
    assert texts() == []


def test_a_transactional_stop_of_an_older_release_ends(outbox):
    now = clocks.now()
    with transaction():
        for stream in ("transactional", "prospect_edu"):
            db.session.add(StreamStop(stream=stream, reason="complaints: 1 of 267", at=now))
    trip()
    assert db.session.scalars(select(StreamStop.stream)).all() == ["prospect_edu"]


def test_stopping_a_transactional_stream_is_refused(outbox):
    with pytest.raises(ValueError, match="transactional"), transaction():
        switches.stop_stream("transactional", reason="x")


def test_alert_emails_leave_beside_tripped_streams(outbox, version, app):
    """Complaints about every stream close none that alerts and confirmations leave by."""
    for stream in rules.STREAMS:
        left(version, size=267, bad=5, kind="complained", stream=stream)
    assert set(trip()) == {"prospect_edu", "referred_edu", "provider_nurture"}
    clinic = replace(app.settings.clinic, staff_alert_email="desk@clinic.example")
    with transaction():
        assert alert_emails.send_alert_digest(clinic=clinic) == 1
    for batch_id in db.session.scalars(select(Batch.id).where(Batch.state == "ready")).all():
        deliver(batch_id, settings=app.settings)
    assert [recipient.email for _, people in outbox.sent for recipient in people] == ["desk@clinic.example"]
