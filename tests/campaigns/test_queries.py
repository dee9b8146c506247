"""The count before a launch: asked of everybody at once, or of the tagged one by one, it is the same."""

from datetime import timedelta

from sqlalchemy import text

from crm.campaigns import queries, service
from crm.consent import suppressions
from crm.contacts.addresses import address_index
from crm.contacts.models import Tag
from crm.core import clock as clocks
from crm.core.db import db, transaction
from tests.campaigns.conftest import ITEM, audience, deliver, freeze, launched
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
