"""Alert emails to the clinic's alert address and to administrators who want them. Neutral: only how many there are.

They are sent as any transactional email: in the ledger, to a contact that stands only for this address.
"""

from datetime import timedelta

import structlog
from sqlalchemy import select

from crm.audit import service as audit
from crm.audit.models import AuditEntry
from crm.contacts.addresses import address_index
from crm.contacts.models import STAFF_ADDRESS, Contact, Tag
from crm.contacts.rules import InvalidValue, clean_email
from crm.core import clock, current
from crm.core.config import Clinic
from crm.core.db import db
from crm.core.errors import NotFound
from crm.messages import service
from crm.staff import alerts, rules
from crm.staff.models import Role, User

log = structlog.get_logger()

SEAL = "audit_seal"  # object type of the entry that tells when one was emailed
SEAL_EVERY = timedelta(hours=23)


def send_alert_digest(*, clinic: Clinic) -> int:
    """Email staff about new open alerts, if it is time; return to how many addresses."""
    waiting = alerts.unsent()
    if not rules.alert_email_due(
        now=clock.now(),
        last=waiting.last_sent,
        urgent_since=waiting.urgent_since,
        others_since=waiting.others_since,
    ):
        return 0
    addresses = recipients(clinic)
    if not addresses or not alerts.mark_sent():
        return 0
    said = summary(urgent=waiting.urgent, others=waiting.others)
    try:
        for address in addresses:
            contact_id = contact_of(address, clinic.time_zone)
            service.send_transactional(
                "staff-alert",
                contact_id=contact_id,
                language="en",
                params={"facts": {"reference": said}},
                passes_stop=True,
            )
    except NotFound:  # the text has no approved version; the console shows the alerts
        alerts.raise_alert(
            key="no-text-staff-alert",
            level="warning",
            text="Alerts are not sent by email: the alert email has no approved version.",
            link="/console/content",
        )
        return 0
    audit.record("alerts.emailed", detail={"addresses": len(addresses)})
    return len(addresses)


def send_audit_seal(line: str, *, clinic: Clinic) -> bool:
    """Email a seal of the audit log to AUDIT_SEAL_EMAIL, once a day; return whether it is sent."""
    address = current.settings().audit_seal_email
    if not address or _seal_is_fresh():
        return False
    try:
        contact_id = contact_of(clean_email(address), clinic.time_zone)
        service.send_transactional(
            "audit-seal", contact_id=contact_id, language="en", params={"facts": {"reference": line}}
        )
    except (InvalidValue, NotFound) as error:
        why = (
            "that email has no approved version"
            if isinstance(error, NotFound)
            else "AUDIT_SEAL_EMAIL is no address"
        )
        words = f"Seals of the audit log are not sent by email: {why}."
        alerts.raise_alert(key="no-text-audit-seal", level="warning", text=words, link="/console/content")
        return False
    alerts.close("no-text-audit-seal")
    audit.record("audit.seal_emailed", object_type=SEAL)
    return True


def _seal_is_fresh() -> bool:
    sent = select(AuditEntry.at).where(AuditEntry.object_type == SEAL).order_by(AuditEntry.id.desc())
    last = db.session.scalar(sent.limit(1))
    return last is not None and last > clock.now() - SEAL_EVERY


def recipients(clinic: Clinic) -> list[str]:
    """Return the recipients, each once: CLINIC_STAFF_ALERT_EMAIL (comma-separated) and administrators who want alerts."""
    asked = select(User.email).where(
        User.active, User.alert_emails, User.practice_id.is_(None), User.roles.any(Role.name == "admin")
    )
    found = set()
    for address in [*clinic.staff_alert_email.split(","), *db.session.scalars(asked)]:
        try:
            found.add(clean_email(address))
        except InvalidValue:
            if address.strip():
                log.warning("alerts.invalid_address")
    return sorted(found)


def summary(*, urgent: int, others: int) -> str:
    """Return how many alerts are open, without their content."""
    parts = (f"{urgent:,} urgent" if urgent else "", f"{others:,} not urgent" if others else "")
    return ", ".join(filter(None, parts))


def contact_of(address: str, zone: str) -> int:
    """Return the contact that stands only for this address of staff; the first email to it creates it."""
    index = address_index(address)
    same = (
        select(Contact.id)
        .join(Tag, Tag.contact_id == Contact.id)
        .where(Contact.email_index == index, Tag.tag == STAFF_ADDRESS, Contact.erased_at.is_(None))
    )
    found = db.session.scalar(same.limit(1))
    if found is not None:
        return found
    now = clock.now()
    made = Contact(
        created_at=now,
        first_name="Email",
        last_name="for staff",
        email=address,
        email_index=index,
        time_zone=zone,
    )
    db.session.add(made)
    db.session.flush()
    db.session.add(Tag(contact_id=made.id, tag=STAFF_ADDRESS, added_at=now))
    db.session.flush()
    return made.id
