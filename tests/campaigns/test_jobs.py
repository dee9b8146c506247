"""Jobs of broadcasts: one that fails blocks no other, and batches that come back to an ended or paused one."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.campaigns import audience as freezing
from crm.campaigns import service
from crm.campaigns.models import Campaign
from crm.core.db import db, transaction
from crm.messages.engine import sweep
from crm.messages.models import Batch
from crm.staff.models import Alert
from jobs import campaigns as jobs
from tests.campaigns.conftest import ITEM, audience, deliver, emails, freeze, launched, progress, reached
from tests.support import factories as support_factories
from tests.support import states


class Broken(Exception):
    """Something that nobody foresaw."""


def open_alerts() -> dict[str, str]:
    with transaction():
        rows = db.session.execute(select(Alert.key, Alert.text).where(Alert.closed_at.is_(None)))
        return {row.key: row.text for row in rows}


def state_of(campaign_id: int) -> str:
    with transaction():
        return db.session.scalars(select(Campaign.state).where(Campaign.id == campaign_id)).one()


def test_one_broken_campaign_does_not_stop_the_others(outbox, clock, monkeypatch):
    audience(1)
    at = support_factories.clock.now() + timedelta(hours=1)
    with transaction():
        ids = [service.create(name=f"News {number}", item=ITEM) for number in range(3)]
        for campaign_id in ids:
            service.launch(campaign_id, at=at)
    clock.shift(3_601)
    begin = service.begin

    def half(campaign_id: int) -> None:
        begin(campaign_id)
        if campaign_id == ids[1]:
            raise Broken("ana@patients.example")

    monkeypatch.setattr(service, "begin", half)
    jobs.look_after()
    assert [state_of(campaign_id) for campaign_id in ids] == ["freezing", "scheduled", "freezing"]
    (words,) = open_alerts().values()
    assert "“News 1” cannot go on (Broken)" in words
    assert "ana@" not in words
    monkeypatch.setattr(service, "begin", begin)
    jobs.look_after()
    assert state_of(ids[1]) == "freezing"
    assert open_alerts() == {}


def test_a_campaign_that_cannot_freeze_raises_an_alert_until_it_can(outbox, app, monkeypatch):
    people = audience(2)
    stuck, well = launched(name="Stuck"), launched(name="Well")
    kept = freezing.freeze_slice

    def slice_of(campaign_id: int) -> bool:
        if campaign_id == stuck:
            db.session.execute(text("select now() at time zone 'no/such'"))
        return kept(campaign_id)

    monkeypatch.setattr(freezing, "freeze_slice", slice_of)
    with pytest.raises(Exception, match="no/such"):
        jobs.freeze(stuck)
    jobs.freeze(well)
    deliver(app)
    assert reached(outbox) == emails(people)
    assert "“Stuck” cannot go on (DataError)" in open_alerts()[f"campaign-freeze:{stuck}"]
    monkeypatch.setattr(freezing, "freeze_slice", kept)
    jobs.freeze(stuck)
    assert open_alerts() == {}
    assert state_of(stuck) == "sending"


@pytest.mark.parametrize(
    ("verb", "state", "waiting", "cancelled"), [("pause", "held", 2, 0), ("cancel", "cancelled", 0, 2)]
)
def test_a_batch_that_comes_back_is_settled(outbox, app, verb, state, waiting, cancelled):
    """The call was under way at the pause or cancel; the provider asks to try again."""
    audience(2)
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        states.bring("batch", "sending")
    with transaction():
        getattr(service, verb)(campaign_id)
    with transaction():
        db.session.execute(text("update batch set state = 'ready', lease_until = null"))
    jobs.look_after()
    with transaction():
        assert db.session.scalars(select(Batch.state)).all() == [state]
    found = progress(campaign_id)
    assert (found.waiting, found.cancelled) == (waiting, cancelled)
    if verb == "pause":
        with transaction():
            service.resume(campaign_id)
        assert deliver(app) == 1


def test_a_batch_with_an_unknown_zone_does_not_stop_the_sweep(outbox, app):
    people, others = audience(1), audience(1, prefix="eva", language="es")
    campaign_id = launched()
    freeze(campaign_id)
    with transaction():
        db.session.execute(text("update batch set time_zones = '{no/such}' where language = 'en'"))
    with transaction():
        sweep.run_sweep(production=False)
    deliver(app)
    assert reached(outbox) == emails(others)
    assert list(open_alerts()) == ["unknown-zone"]
    assert progress(campaign_id).failed == 1
    jobs.look_after()
    with transaction():
        again = service.resend(campaign_id)
        service.launch(again)
    freeze(again)
    deliver(app)
    assert reached(outbox) == emails(people + others)
