"""People for the tests of consent."""

from crm import clock
from crm.contacts.addresses import address_index
from crm.contacts.models import Contact
from crm.db import db


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
