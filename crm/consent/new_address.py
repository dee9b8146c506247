"""Consent when a person's address changes: asked anew at the new one, never carried over.

Consent holds for the address it was given from (`Reason.OTHER_ADDRESS`), and suppressions stay with the old address.
So a changed address gets one confirmation email for the topics that were granted, or still unanswered, at the old one.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text

from crm.audit import service as audit
from crm.consent import consent_texts
from crm.consent.consent_texts import Wording
from crm.consent.double_opt_in import request_confirmation
from crm.consent.queries import refusals
from crm.consent.rules import ConfirmationKind, ConsentAction, may_ask
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.db import db

# Reasons that say the address reaches nobody; every other suppression is the person's own stop.
UNREACHABLE = frozenset({"bounced", "soft_bounces", "invalid"})

_STOPS = text("select reason from suppression where address_index = :index and lifted_at is null")
_WANTED = text("""
    select topic, action, wording from (
        select distinct on (topic) topic, action, wording, address_index from consent_record
        where contact_id = :contact and topic <> '*' and action <> 'snoozed' order by topic, id desc) newest
    where action in ('granted', 'requested', 'attested') and address_index = :index order by topic
""")


def _may_be_asked(contact: Contact, before: bytes) -> bool:
    if contact.email_index is None or contact.stopped_at is not None:
        return False
    return not set(db.session.scalars(_STOPS, {"index": before})) - UNREACHABLE


def ask_at_new_address(*, contact_id: int, before: bytes | None) -> bool:
    """Send the confirmation email to the new address, if the old one was asked or had said yes; return whether it was.

    A person who stopped emails at the old address is not asked again.
    """
    contact = db.session.get_one(Contact, contact_id)
    if before is None or not _may_be_asked(contact, before):
        return False
    rows = db.session.execute(_WANTED, {"contact": contact_id, "index": before}).all()
    why = refusals(contact_id=contact_id, topics=[row.topic for row in rows], now=clock.now()) if rows else {}
    # a mailbox that opted out is asked at its owner's request only, and this is not one
    wanted = [row for row in rows if may_ask(why[row.topic], person_asked=False)]
    asked = [_ask(contact, kind, wanted) for kind in ConfirmationKind]
    if any(asked):
        audit.record("consent.asked_again", object_type="contact", object_id=contact_id)
    return any(asked)


def _ask(contact: Contact, kind: ConfirmationKind, rows: Sequence[Row[Any]]) -> bool:
    of_kind = [row for row in rows if _kind(row.action) is kind]
    if not of_kind:
        return False
    made = request_confirmation(
        contact=contact,
        topics=[row.topic for row in of_kind],
        kind=kind,
        wording=_wording(of_kind[0].wording, contact.language),
        language=contact.language,
        source="staff",
    )
    return made is not None


def _kind(action: str) -> ConfirmationKind:
    attested = action == ConsentAction.ATTESTED
    return ConfirmationKind.INVITATION if attested else ConfirmationKind.CONFIRMATION


def _wording(name: str | None, language: str) -> Wording:
    try:
        return consent_texts.find(name or "", language)
    except KeyError:
        return consent_texts.current("contact-form", language)
