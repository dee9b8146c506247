"""Intake and status for other systems."""

from collections.abc import Sequence
from typing import Any

from flask_smorest import Blueprint

from crm.consent import consent_texts
from crm.contacts.rules import Person, zone_for
from crm.core import clock, current
from crm.intake import service
from crm.intake.schemas import (
    ContactRequestSchema,
    ReceiptSchema,
    ReferralSchema,
    StatusSchema,
    WordingSchema,
    take_left_out,
)
from crm.intake.service import ContactRequest, IntakeResult, NewReferral
from crm.intake.values import Unread
from crm.leads import queries, rules
from crm.referrers.service import Sender
from crm.staff.keys.api_auth import caller, once, require_scope

blueprint = Blueprint("leads-api", __name__, description="Contact requests and referrals")

Answer = tuple[dict[str, Any], int]


@blueprint.route("/contact-requests", methods=["POST"])
@require_scope("contact-requests:write")
@blueprint.arguments(ContactRequestSchema)
@blueprint.response(201, ReceiptSchema)
@once
def create_contact_request(data: dict[str, Any]) -> Answer:
    """Receive a contact request. 201: a new lead; 200: the same request was sent within the last day."""
    left_out = take_left_out(data)
    ticked = data["educational_email"]
    request = ContactRequest(
        person=_person(data),
        source="api",
        message=data["message"],
        heard_from=data["heard_from"],
        first_touch=rules.first_touch(data["first_touch"] or {}),
        wording=consent_texts.find(data["wording"], data["language"]) if ticked else None,
        left_out=left_out,
    )
    return _receipt(service.open_contact_request(request=request), left_out)


@blueprint.route("/referrals", methods=["POST"])
@require_scope("referrals:write")
@blueprint.arguments(ReferralSchema)
@blueprint.response(201, ReceiptSchema)
@once
def create_referral(data: dict[str, Any]) -> Answer:
    """Receive a referral. 201: a new one; 200: a duplicate (same external id, or same content within a day).

    `agreed_to_email` never subscribes the patient: it allows one confirmation email.
    """
    left_out = take_left_out(data)
    referral = _referral(data, left_out)
    return _receipt(service.open_referral(referral=referral, practice_id=caller().practice_id), left_out)


@blueprint.route("/leads/<reference>")
@require_scope("leads:read")
@blueprint.response(200, StatusSchema)
def show_lead(reference: str) -> dict[str, Any]:
    """Return the status of a lead sent with this key or belonging to its practice."""
    lead = queries.lead_sent_by(reference=reference, actor=caller().actor, practice_id=caller().practice_id)
    codes = rules.REFERRAL_CODES[lead.stage] if lead.kind == rules.REFERRAL else None
    return {
        "reference": lead.reference,
        "kind": lead.kind,
        "stage": lead.stage,
        "fhir_task_status": codes.task if codes else None,
        "bser_status": codes.bser if codes else None,
        "received_at": lead.created_at,
        "stage_at": lead.stage_at,
    }


@blueprint.route("/wordings")
@require_scope(None)
@blueprint.response(200, WordingSchema(many=True))
def list_wordings() -> list[dict[str, str]]:
    """Return the current consent texts to show beside the checkboxes."""
    found = [
        consent_texts.current(key, language)
        for key in ("contact-form", "referral-attestation")
        for language in ("en", "es")
    ]
    return [{"name": one.name, "language": one.language, "text": one.text} for one in found]


def _receipt(opened: IntakeResult, left_out: Sequence[Unread]) -> Answer:
    """Return reference and status; of what was left out only the labels, as the reply is kept to be repeated."""
    body: dict[str, Any] = {"reference": opened.reference}
    if left_out:
        body["left_out"] = [one.label for one in left_out]
    return body, 201 if opened.is_new else 200


def _person(data: dict[str, Any]) -> Person:
    clinic = current.settings().clinic.time_zone
    return Person(
        first_name=data["first_name"] or "",
        last_name=data["last_name"] or "",
        email=data["email"],
        phone=data["phone"],
        birth_date=data.get("birth_date"),
        language=data["language"],
        time_zone=zone_for(given=data["time_zone"], state=data["state"], clinic=clinic),
        state=data["state"],
    )


def _referral(data: dict[str, Any], left_out: Sequence[Unread]) -> NewReferral:
    referrer, patient = data["referrer"], data["patient"]
    agreed = data["agreed_to_email"]
    return NewReferral(
        person=_person(patient),
        sender=Sender(
            clinician=referrer["name"],
            npi=referrer["npi"],
            practice=referrer["practice"],
            phone=referrer["phone"],
            fax=referrer["fax"],
            email=referrer["email"],
        ),
        source="api",
        sent_at=data["sent_at"] or clock.now(),
        health={
            "reason": data["reason"],
            "payer": data["payer"],
            "attachments": data["attachments"],
            "preferred_contact": patient["preferred_contact"],
        },
        guardian=patient["guardian"],
        urgency=data["urgency"],
        service=data["service"],
        contact_person=referrer["contact_person"],
        external_id=data["external_id"],
        patient_informed=data["patient_informed"],
        attestation=consent_texts.find(data["attestation"], patient["language"]) if agreed else None,
        left_out=left_out,
    )
