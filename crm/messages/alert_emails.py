"""Alerts by email: to the clinic's address for them and to administrators who asked. Neutral: how many, and no word of what.

They leave as any transactional email does: in the ledger, to a contact that stands for nothing but this address.
"""

import structlog
from sqlalchemy import select

from crm.audit import service as audit
from crm.contacts.addresses import address_index
from crm.contacts.models import Contact, Tag
from crm.contacts.rules import InvalidValue, clean_email
from crm.core import clock
from crm.core.config import Clinic
from crm.core.db import db
from crm.core.errors import NotFound
from crm.messages import service
from crm.staff import alerts, rules
from crm.staff.models import Role, User

log = structlog.get_logger()

TAG = "staff-alerts"


def tell(*, clinic: Clinic) -> int:
    """Email staff about open alerts nobody was told of, if it is time; return to how many addresses."""
    waiting = alerts.untold()
    if not rules.time_to_tell(
        now=clock.now(),
        last=waiting.last_told,
        urgent_since=waiting.urgent_since,
        others_since=waiting.others_since,
    ):
        return 0
    addresses = recipients(clinic)
    if not addresses or not alerts.note_told():
        return 0
    said = summary(urgent=waiting.urgent, others=waiting.others)
    try:
        for address in addresses:
            contact_id = _contact(address, clinic.time_zone)
            service.send_transactional(
                "staff-alert", contact_id=contact_id, language="en", params={"facts": {"reference": said}}
            )
    except NotFound:  # nobody has approved the text: the console shows the alerts all the same
        alerts.raise_alert(
            key="no-text-staff-alert",
            level="warning",
            text="Alerts are not sent by email: the text for that has no approved version.",
            link="/console/content",
        )
        return 0
    audit.record("alerts.emailed", detail={"addresses": len(addresses)})
    return len(addresses)


def recipients(clinic: Clinic) -> list[str]:
    """Return who is told: CLINIC_STAFF_ALERT_EMAIL (commas between several) and administrators who asked, each once."""
    asked = select(User.email).where(
        User.active, User.alert_emails, User.practice_id.is_(None), User.roles.any(Role.name == "admin")
    )
    found = set()
    for address in [*clinic.staff_alert_email.split(","), *db.session.scalars(asked)]:
        try:
            found.add(clean_email(address))
        except InvalidValue:
            if address.strip():
                log.warning("alerts.no_address")
    return sorted(found)


def summary(*, urgent: int, others: int) -> str:
    """Say how much waits, without a word of what."""
    parts = (f"{urgent:,} urgent" if urgent else "", f"{others:,} not urgent" if others else "")
    return ", ".join(filter(None, parts))


def _contact(address: str, zone: str) -> int:
    """The record that stands for this address and for no patient, made at the first alert."""
    index = address_index(address)
    same = (
        select(Contact.id)
        .join(Tag, Tag.contact_id == Contact.id)
        .where(Contact.email_index == index, Tag.tag == TAG, Contact.erased_at.is_(None))
    )
    found = db.session.scalar(same.limit(1))
    if found is not None:
        return found
    now = clock.now()
    made = Contact(
        created_at=now,
        first_name="Alerts",
        last_name="for staff",
        email=address,
        email_index=index,
        time_zone=zone,
    )
    db.session.add(made)
    db.session.flush()
    db.session.add(Tag(contact_id=made.id, tag=TAG, added_at=now))
    db.session.flush()
    return made.id
