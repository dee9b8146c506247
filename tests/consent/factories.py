"""People for the tests of consent."""

from dataclasses import dataclass

from crm.contacts.addresses import address_index
from crm.contacts.models import Contact
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock, tokens
from crm.core.db import db
from crm.core.tokens import Purpose
from crm.messages.models import Batch, Message


def person(email="jane@example.org", **fields):
    """Add a contact and return it."""
    made = Contact(
        created_at=clock.now(),
        first_name="Jane",
        last_name="Roe",
        email=email,
        email_index=address_index(email) if email else None,
        time_zone="America/Denver",
        **fields,
    )
    db.session.add(made)
    db.session.flush()
    return made


@dataclass(frozen=True)
class Email:
    """A sent email and the tokens in its links."""

    message_id: int
    stop: str
    choose: str


def email_to(contact_id, topic):
    """Write one sent email into the ledger."""
    now = clock.now()
    item = ContentItem(
        key=f"letter-{contact_id}", kind="email", title="A letter", stream=topic, created_at=now
    )
    db.session.add(item)
    db.session.flush()
    version = ContentVersion(
        item_id=item.id,
        language="en",
        number=1,
        state="approved",
        source="",
        hash=b"",
        author="staff:1",
        created_at=now,
    )
    db.session.add(version)
    db.session.flush()
    batch = Batch(
        kind="sequence",
        stream=topic,
        transport="memory",
        content_version_id=version.id,
        language="en",
        topic=topic,
        size=1,
        state="accepted",
        created_at=now,
        not_before=now,
        state_at=now,
    )
    db.session.add(batch)
    db.session.flush()
    message = Message(batch_id=batch.id, contact_id=contact_id, content_version_id=version.id, created_at=now)
    db.session.add(message)
    db.session.flush()
    serial = batch.id & 0xFFFFFFFF
    return Email(
        message_id=message.id,
        stop=tokens.sign(Purpose.UNSUBSCRIBE, contact_id, serial=serial),
        choose=tokens.sign(Purpose.PREFERENCES, contact_id, serial=serial),
    )
