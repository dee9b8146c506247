"""A person's own data by a link to their mailbox: request the link, get a copy, ask for erasure.

The mailbox is the only proof of who asks, so the copy leaves out what a practice or staff wrote, and birth dates.
"""

from dataclasses import dataclass

from sqlalchemy import func, select

from crm.audit import service as audit
from crm.contacts import queries as people
from crm.contacts.addresses import address_index
from crm.contacts.models import Contact
from crm.core.db import db
from crm.core.errors import Conflict
from crm.core.events import publish
from crm.core.tokens import Purpose
from crm.leads.models import Lead
from crm.privacy import service
from crm.privacy.events import OwnDataLinkMade
from crm.privacy.models import OwnDataLink
from crm.staff import alerts
from crm.staff.one_time_links import OneTimeLinks

MOST_PEOPLE = 5  # of one address: a family; each gets a link of their own
ANSWER_WITHIN = 45  # days, RCW 19.373.040

LINKS = OneTimeLinks(
    table=OwnDataLink,
    owner=OwnDataLink.contact_id,
    account=Contact,
    active=Contact.erased_at.is_(None) & Contact.merged_into_id.is_(None),
    purpose=Purpose.OWN_DATA,
    expired="This link was used or has expired. Request a new one.",
)


@dataclass(frozen=True, kw_only=True)
class ErasureAnswer:
    """What became of a person's request to be erased."""

    done: bool  # False: staff must look, because a duty to keep the record may apply


def request_link(email: str) -> None:
    """Email a link to everyone with this address; never reveal whether there is one."""
    found = select(Contact).where(Contact.email_index == address_index(email), *people.present())
    for contact in db.session.scalars(found.order_by(Contact.id).limit(MOST_PEOPLE)).all():
        link_id = LINKS.make(contact)
        audit.record("own_data.link", object_type="contact", object_id=contact.id)
        publish(OwnDataLinkMade(contact_id=contact.id, language=contact.language, link_id=link_id))


def ask_erasure(contact: Contact) -> ErasureAnswer:
    """Erase the person at once, or ask staff where a referral, care, an account or a legal hold is in the way."""
    try:
        service.erase(contact_id=contact.id, reason="asked")
    except Conflict:
        audit.record("own_data.erasure_asked", object_type="contact", object_id=contact.id)
        alerts.raise_alert(
            key=f"erasure-asked:{contact.id}",
            level="warning",
            text=f"A person asked to be erased. Decide and answer them within {ANSWER_WITHIN} days.",
            link=_erase_page(contact),
        )
        return ErasureAnswer(done=False)
    return ErasureAnswer(done=True)


def _erase_page(contact: Contact) -> str | None:
    newest = select(func.max(Lead.id)).where(Lead.contact_id.in_(service.records_of(contact.id)))
    lead = db.session.get(Lead, db.session.scalar(newest) or 0)
    return f"/console/erase/{lead.reference}" if lead is not None else None
