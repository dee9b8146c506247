"""Entries by staff: what came by phone, at the desk, by fax or at an event. They end in the one intake service.

A spoken agreement is noted as such. It opens an invitation by email and never an enrolment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crm.audit import service as audit
from crm.consent import consent_texts
from crm.consent.rules import ConfirmationKind
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.contacts.rules import Person
from crm.core import clock, row_scope
from crm.intake import service
from crm.intake.service import ContactRequest, IntakeResult, NewReferral
from crm.intake.values import Unread
from crm.referrers.service import Sender


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A person as staff entered them. `contact_id`: the known record that staff chose; `source`: of `rules.BY_HAND`."""

    person: Person
    source: str
    contact_id: int | None = None
    spoken_agreement: bool = False


@row_scope.lifted()
def add_contact(entry: Entry) -> Contact:
    """Add a person without a lead, or find them."""
    found = service.find_person(entry.person, contact_id=entry.contact_id)
    if found.is_new:
        detail = {"source": entry.source}
        contacts.record_activity(contact_id=found.contact.id, kind="contact_added", detail=detail)
        audit.record("contact.add", object_type="contact", object_id=found.contact.id, detail=detail)
    _invite(entry, found)
    return found.contact


@row_scope.lifted()
def open_lead(entry: Entry, *, message: str | None, heard_from: str | None) -> IntakeResult:
    """Open a contact request for a person."""
    request = ContactRequest(
        person=entry.person,
        source=entry.source,
        contact_id=entry.contact_id,
        message=message,
        heard_from=heard_from,
    )
    opened = service.open_contact_request(request=request)
    _invite(entry, _again(opened))
    return opened


@row_scope.lifted()
def open_referral(
    entry: Entry,
    *,
    sender: Sender,
    health: Mapping[str, Any],
    guardian: Mapping[str, Any] | None = None,
    urgency: str = "routine",
    service_wanted: str = "consult",
    external_id: str | None = None,
    patient_informed: bool = False,
    left_out: Sequence[Unread] = (),
) -> IntakeResult:
    """Open a referral that came on paper or by phone. Raises Conflict, Invalid as the intake does."""
    referral = NewReferral(
        person=entry.person,
        sender=sender,
        source=entry.source,
        contact_id=entry.contact_id,
        sent_at=clock.now(),
        health=health,
        guardian=guardian,
        urgency=urgency,
        service=service_wanted,
        external_id=external_id,
        patient_informed=patient_informed,
        left_out=left_out,
    )
    opened = service.open_referral(referral=referral)
    _invite(entry, _again(opened))
    return opened


def _again(opened: IntakeResult) -> contacts.ContactMatch:
    return contacts.ContactMatch(contact=contacts.get(opened.contact_id), is_new=False)


def _invite(entry: Entry, found: contacts.ContactMatch) -> None:
    """Note the spoken agreement and send the invitation, where the address is the one that was spoken of."""
    if entry.spoken_agreement:
        service.request_confirmation(
            found,
            entry.person,
            kind=ConfirmationKind.INVITATION,
            topic="prospect_edu",
            wording=consent_texts.current("spoken-agreement", entry.person.language),
            source="staff",
        )
