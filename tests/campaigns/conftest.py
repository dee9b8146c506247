"""A transport that keeps what it was given, and an audience made by a few statements."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from crm.campaigns import audience as freezing
from crm.campaigns import queries, service
from crm.core.db import db, transaction
from crm.mailer.memory import MemoryMailer
from crm.messages import transports
from crm.messages.engine import pipeline
from tests.support import factories as support_factories

ITEM = "contact-request/01-welcome"

_CONSENT = """
    with r as (insert into consent_record (contact_id, topic, action, language, source, actor, at, address_index)
        select id, 'prospect_edu', 'granted', language, 'test', 'test', :at, email_index from contact
        where id = any(:ids) returning id, contact_id, at, address_index)
    insert into consent_state (contact_id, topic, granted, record_id, at, address_index)
    select contact_id, 'prospect_edu', true, id, at, address_index from r
"""


@pytest.fixture
def outbox(database, redis, clock) -> Iterator[MemoryMailer]:
    """The shipped content is there, time stands still, and mail ends in `outbox.sent`."""
    mailer = MemoryMailer(name="sendgrid")
    transports.use({"sendgrid": mailer})
    with transaction():
        support_factories.shipped()
    yield mailer
    transports.use({})


def audience(count: int, *, prefix: str = "ana", **values: Any) -> list[int]:
    """People who said yes to educational email an hour ago; return their ids."""
    with transaction():
        ids = support_factories.many_contacts(count, at=support_factories.clock.now(), **values)
        db.session.execute(
            text("update contact set email = :prefix || email where id = any(:ids)"),
            {"prefix": prefix, "ids": ids},
        )
        db.session.execute(
            text("update contact set email_index = sha256(email::bytea) where id = any(:ids)"), {"ids": ids}
        )
        consent(ids, at=support_factories.clock.now() - timedelta(hours=1))
    return ids


def consent(ids: list[int], *, at: Any) -> None:
    db.session.execute(text(_CONSENT), {"ids": ids, "at": at})


def launched(**values: Any) -> int:
    with transaction():
        campaign_id = service.create(**{"name": "News", "item": ITEM, **values})
        service.launch(campaign_id)
    return campaign_id


def freeze(campaign_id: int, *, first: int = 4_000, largest: int = 64_000) -> int:
    """Freeze to the end; return how many slices it took."""
    more, slices = True, 0
    while more:
        with transaction():
            more = freezing.freeze_slice(campaign_id, first=first, largest=largest)
        slices += 1
    return slices


def deliver(app) -> int:
    return pipeline.run(settings=app.settings)


def reached(outbox: MemoryMailer) -> list[str]:
    return sorted(recipient.email for _, people in outbox.sent for recipient in people)


def emails(ids: Iterable[int]) -> list[str]:
    return sorted(
        db.session.scalars(text("select email from contact where id = any(:ids)"), {"ids": list(ids)})
    )


def progress(campaign_id: int):
    db.session.expire_all()
    return queries.progress(queries.get(campaign_id))
