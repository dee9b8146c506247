"""Corrections in the portal: a practice corrects what it sent, staff get a notification, and the practice can undo it."""

from collections.abc import Mapping
from typing import Any

from crm.audit import acts
from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.contacts import editing
from crm.intake import corrections
from crm.intake.corrections import Correction, SentForm
from crm.leads import crisis
from crm.leads.models import Lead
from crm.portal import referral_form
from crm.referrers.models import PortalPerson
from crm.staff import alerts
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind

KIND = "correct_referral"


def form_of(lead: Lead) -> SentForm | None:
    """Return what the practice sent, if it can still correct it."""
    if lead.referral is None or lead.closed_at is not None:
        return None
    return corrections.sent_form(lead.referral)


def correct(
    *, lead: Lead, person: PortalPerson, clean: Mapping[str, Any], number: int, zone: str
) -> StaffAct | None:
    """Correct a referral as a form that is in order says; return the act, None if nothing was changed.

    Raises NumberTaken, and Conflict if it is closed or was corrected in the meantime.
    """
    if lead.referral is not None and lead.referral.urgency == "urgent":
        clean = {**clean, "urgency": "urgent"}  # it stays urgent: to slow it down, the practice calls
    correction = _correction(clean, person, zone=zone)
    with acts.begin(KIND, lead_id=lead.id) as act:
        changed, waiting = corrections.correct(
            lead_id=lead.id, number=number, correction=correction, act_id=act.id
        )
    if not changed:
        return None
    # outside of the act: an undo takes no crisis back
    crisis.alert_if_crisis(clean["reason"], lead_id=lead.id, reference=lead.reference)
    _tell(lead, waits=bool(waiting))
    return act


def _correction(clean: Mapping[str, Any], person: PortalPerson, *, zone: str) -> Correction:
    clean = {**clean, "contact_person": clean["contact_person"] or person.name}
    return Correction(
        answers=referral_form.answers_of(clean),
        person=referral_form.person(clean, clinic_zone=zone),
        health=referral_form.health(clean),
        guardian=referral_form.guardian(clean),
        service=clean["service"],
        contact_person=clean["contact_person"],
        external_id=clean["external_id"],
    )


def undo(act_id: int, *, lead: Lead) -> None:
    """Undo a correction of the current actor. Raises NotFound, and Conflict if something changed since."""
    editing.undo(act_id, contact_id=lead.contact_id, lead_id=lead.id)
    for line, left in editing.differences(lead.contact):
        if line.lead_id == lead.id and (line.detail or {}).get("act_id") == act_id:
            for name in left:
                editing.keep(contact_id=lead.contact_id, activity_id=line.id, field=name)
    audit.record("referral.correction_undone", object_type="lead", object_id=lead.id)
    _tell(lead, waits=False)


def _tell(lead: Lead, *, waits: bool) -> None:
    """Notify the owner and, until staff close it, everyone."""
    text = f"A practice corrected referral {lead.reference}."
    alerts.raise_alert(
        key=f"portal-correction:{lead.id}",
        level="warning" if waits else "info",
        text=f"{text} Some values wait for a decision." if waits else text,
        link=f"/console/leads/{lead.reference}",
    )
    notifications.about_lead(lead.owner_id, kind=NotificationKind.REPLY, reference=lead.reference)
