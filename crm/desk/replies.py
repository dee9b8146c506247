"""Email replies to contact requests, with approved texts."""

from collections.abc import Mapping

from sqlalchemy import select

from crm.audit import service as audit
from crm.core import events
from crm.core.db import db
from crm.core.errors import Conflict, Invalid
from crm.leads import call_log, rules, service
from crm.leads.events import ReplyRequested
from crm.leads.models import Lead

REPLIES: Mapping[str, str] = {  # an email under templates/email -> what it says, in a line
    "answer-please-call": "Please call us, or tell us when to call",
    "answer-tried-to-reach": "We tried to reach you",
    "answer-not-here": "We cannot help with this; other places to ask",
}


def refusal(lead: Lead) -> str | None:
    """Return why no reply may be emailed to this person; None if it may."""
    if lead.kind != rules.CONTACT_REQUEST:
        return "Only contact requests are answered by email. Call the patient, or write to the practice."
    if lead.closed_at is not None:
        return "This lead is closed. Reopen it first."
    if lead.contact.email is None:
        return "There is no email address."
    if lead.contact.stopped_at is not None:
        return "A clinical stop is set."
    # A reply is neutral mail to a person who asked; to a patient, the same email would reveal care.
    others = select(Lead.id).where(
        Lead.contact_id == lead.contact_id, (Lead.kind == rules.REFERRAL) | (Lead.stage == "patient")
    )
    if db.session.scalar(others.limit(1)) is not None:
        return "This person was referred to us or is a patient. Call them."
    return None


def send_reply(*, lead_id: int, kind: str) -> None:
    """Send the person one of `REPLIES` in their language; it counts as an attempt to reach them.

    Raises Invalid for an unknown text, and Conflict if no reply may be sent or the text is not approved.
    """
    if kind not in REPLIES:
        raise Invalid({"answer": ["Choose a reply."]})
    lead = service.get(lead_id)
    refused = refusal(lead)
    if refused is not None:
        raise Conflict(refused)
    call_log.log_call(lead_id=lead_id, channel="email", outcome="sent")
    audit.record("lead.answer", object_type="lead", object_id=lead_id, detail={"kind": kind})
    events.publish(
        ReplyRequested(lead_id=lead_id, contact_id=lead.contact_id, kind=kind, language=lead.contact.language)
    )
