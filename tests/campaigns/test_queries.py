"""The count before a launch: asked of everybody at once, or of the tagged one by one, it is the same."""

from datetime import timedelta

from redis import Redis
from sqlalchemy import text

from crm.campaigns import queries, rules, service
from crm.consent import service as consenting
from crm.consent import suppressions
from crm.contacts.addresses import address_index
from crm.contacts.models import Tag
from crm.core import clock as clocks
from crm.core.db import db, transaction
from tests.campaigns.conftest import ITEM, audience, deliver, freeze, launched, reached
from tests.support import factories as support_factories

CHANGES = {
    "erased": "erased_at = :now",
    "no_address": "email = null",
    "stopped": "stop_reason = 'deceased'",
    "snoozed": "snooze_until = :later",
    "other_address": "email_index = sha256('elsewhere')",
    "no_translation": "language = 'fr'",
}


def test_both_ways_count_alike(outbox, app, clock):
    people = audience(12)
    for _ in range(3):  # as many emails this week as we allow ourselves
        with transaction():
            db.session.execute(text("update contact set snooze_until = :later where id <> :id"),
                               {"later": clocks.now() + timedelta(days=1), "id": people[11]})  # fmt: skip
        freeze(launched(repeat_allowed=True))
        deliver(app)
    with transaction():
        db.session.execute(text("update contact set snooze_until = null"))
        db.session.execute(text("delete from message where contact_id <> :id"), {"id": people[11]})
        given = {"now": clocks.now(), "later": clocks.now() + timedelta(days=9)}
        for contact_id, change in zip(people, CHANGES.values(), strict=False):
            db.session.execute(text(f"update contact set {change} where id = {contact_id}"), given)
        for contact_id, scope in ((people[6], "all"), (people[7], "marketing")):
            email = db.session.scalar(text("select email from contact where id = :id"), {"id": contact_id})
            db.session.execute(
                text("update contact set email_index = :index where id = :id"),
                {"index": address_index(email), "id": contact_id},
            )
            suppressions.suppress(address_index=address_index(email), scope=scope, reason="x", source="staff")
        db.session.execute(
            text("update consent_state set address_index = null where contact_id = any(:ids)"),
            {"ids": people[6:8]},
        )
        db.session.add_all(
            Tag(contact_id=one, tag="all", added_at=support_factories.clock.now()) for one in people
        )
        db.session.add(Tag(contact_id=people[8], tag="away", added_at=support_factories.clock.now()))
        ids = [
            service.create(name="x", item=ITEM, tags=tags, exclude_tags=["away"]) for tags in ([], ["all"])
        ]
    with transaction():
        whole, tagged = (queries.preflight(queries.get(campaign_id)) for campaign_id in ids)
    assert whole == tagged
    assert whole.people == 2
    reasons = {*CHANGES, "suppressed", "opted_out", "excluded", "frequency_cap"}
    assert whole.skipped == dict.fromkeys(reasons, 1)


def tagged(contact_ids: list[int], tag: str) -> None:
    with transaction():
        db.session.add_all(Tag(contact_id=one, tag=tag, added_at=clocks.now()) for one in contact_ids)


def preflight(campaign_id: int) -> queries.Preflight:
    with transaction():
        return queries.preflight(queries.get(campaign_id))


def draft(**values) -> int:
    with transaction():
        return service.create(**{"name": "News", "item": ITEM, **values})


def test_people_who_had_this_version_are_counted_and_left_out(outbox, app):
    people = audience(3)
    tagged(people[:2], "first")
    freeze(launched(tags=["first"]))
    deliver(app)
    once, again = draft(), draft(repeat_allowed=True)
    assert preflight(once) == queries.Preflight(people=1, skipped={"had_already": 2}, had=2)
    assert preflight(again) == queries.Preflight(people=3, skipped={}, had=2)
    for campaign_id, count in ((once, 1), (again, 3)):
        with transaction():
            service.launch(campaign_id)
        freeze(campaign_id)
        sent = len(reached(outbox))
        deliver(app)
        assert len(reached(outbox)) - sent == count


def test_another_version_is_no_repeat(outbox, app):
    audience(2)
    freeze(launched())
    deliver(app)
    with transaction():
        db.session.execute(text("update message set content_version_id = content_version_id + 1000"))
    assert preflight(draft()) == queries.Preflight(people=2, skipped={})


def test_preflight_of_a_resend_is_exact(outbox, app):
    """Two got it, three were missed, of whom one opted out and one lost the tag; one never was in the audience."""
    people = audience(6)
    tagged(people[:5], "first")
    with transaction():
        db.session.execute(
            text("update contact set language = 'es' where id = any(:ids)"), {"ids": people[2:5]}
        )
    campaign_id = launched(tags=["first"])
    freeze(campaign_id)
    with transaction():
        db.session.execute(
            text("update batch set not_before = not_before + interval '1 hour' where language = 'es'")
        )
    deliver(app)
    with transaction():
        service.cancel(campaign_id)
        again = service.resend(campaign_id)
        consenting.withdraw(contact_id=people[2], topic="prospect_edu", source="one_click")
        db.session.execute(text("delete from contact_tag where contact_id = :id"), {"id": people[3]})
    assert preflight(again) == queries.Preflight(people=1, skipped={"no_tag": 1, "withdrawn": 1})
    with transaction():
        service.launch(again)
    freeze(again)
    sent = len(reached(outbox))
    deliver(app)
    assert len(reached(outbox)) - sent == 1


def test_a_large_count_is_kept_for_a_minute(outbox, redis, monkeypatch):
    monkeypatch.setattr(rules, "ASK_ABOVE", 2)
    audience(3)
    campaign_id = draft()

    def count(**values) -> int:
        with transaction():
            return queries.recent_preflight(queries.get(campaign_id), **values).preflight.people

    assert count() == 3
    audience(1, prefix="eva")
    assert count() == 3
    assert 0 < redis.ttl(f"preflight:{campaign_id}") <= queries.PREFLIGHT_SECONDS
    assert count(again=True) == 4
    assert count() == 4
    redis.flushdb()
    audience(1, prefix="ida")
    assert count() == 5


def test_a_small_count_is_always_new(outbox):
    audience(1)
    campaign_id = draft()
    for expected in (1, 2):
        with transaction():
            assert queries.recent_preflight(queries.get(campaign_id)).preflight.people == expected
        audience(1, prefix="eva")


def test_preflight_without_redis(outbox, app, redis, monkeypatch):
    monkeypatch.setattr(rules, "ASK_ABOVE", 0)
    audience(1)
    campaign_id = draft()
    monkeypatch.setattr(app.services, "redis", Redis(port=1))
    with transaction():
        assert queries.recent_preflight(queries.get(campaign_id)).preflight.people == 1
