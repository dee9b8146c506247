"""People with one sent email each, for events to be about."""

from collections.abc import Iterator

import pytest

from crm.db import db, transaction
from crm.messages import doors
from crm.messages.models import Batch, Message
from tests import makers


@pytest.fixture
def sent(database, redis, clock) -> Iterator[list[tuple[int, int, str]]]:
    """Three people who opted in and got an email: (contact id, message id, address)."""
    doors.use({})
    with transaction():
        makers.shipped()
        rows = []
        for name in ("ana", "ben", "cho"):
            who = makers.contact(email=f"{name}@patients.example", first_name=name)
            makers.opted_in(who)
            rows.append((who.id, who.email))
        version = db.session.query(Message.content_version_id).first()[0]
        found = []
        for contact_id, email in rows:
            batch = Batch(
                kind="sequence", stream="prospect_edu", transport="sendgrid", content_version_id=version, language="en",
                topic="prospect_edu", size=1, state="accepted", created_at=makers.clock.now(),
                not_before=makers.clock.now(), state_at=makers.clock.now(),
            )  # fmt: skip
            db.session.add(batch)
            db.session.flush()
            message = Message(
                batch_id=batch.id,
                contact_id=contact_id,
                content_version_id=version,
                created_at=makers.clock.now(),
            )
            db.session.add(message)
            db.session.flush()
            found.append((contact_id, message.id, email))
    return found
