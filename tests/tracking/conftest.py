"""People with one sent email each, for events to be about."""

import pytest

from crm.core.db import db, transaction
from crm.messages import transports
from crm.messages.models import Batch, Message
from tests.support import factories as support_factories


@pytest.fixture
def sent(database, redis, clock) -> list[tuple[int, int, str]]:
    """Three people who opted in and got an email: (contact id, message id, address)."""
    transports.use({})
    with transaction():
        support_factories.shipped()
        rows = []
        for name in ("ana", "ben", "cho"):
            who = support_factories.contact(email=f"{name}@patients.example", first_name=name)
            support_factories.opted_in(who)
            rows.append((who.id, who.email))
        version = db.session.query(Message.content_version_id).first()[0]
        found = []
        for contact_id, email in rows:
            batch = Batch(
                kind="sequence", stream="prospect_edu", transport="sendgrid", content_version_id=version, language="en",
                topic="prospect_edu", size=1, state="accepted", created_at=support_factories.clock.now(),
                not_before=support_factories.clock.now(), state_at=support_factories.clock.now(),
            )  # fmt: skip
            db.session.add(batch)
            db.session.flush()
            message = Message(
                batch_id=batch.id,
                contact_id=contact_id,
                content_version_id=version,
                created_at=support_factories.clock.now(),
            )
            db.session.add(message)
            db.session.flush()
            found.append((contact_id, message.id, email))
    return found
