"""Working leads from the clinic's other systems: list, get, move, note, assign."""

import re
from typing import Any

from flask_smorest import Blueprint
from werkzeug.exceptions import PreconditionFailed, PreconditionRequired

from crm.audit import service as audit
from crm.core.errors import NotAllowed
from crm.desk import search
from crm.desk.schemas import (
    FIELDS,
    FieldsSchema,
    IfMatchSchema,
    LeadPageSchema,
    LeadQuerySchema,
    LeadSchema,
    MoveSchema,
    NotedSchema,
    NoteSchema,
    OwnerSchema,
)
from crm.leads import service
from crm.leads.models import Lead
from crm.staff.api_auth import caller, once, require_scope

blueprint = Blueprint("desk-api", __name__, description="Working leads")
SCOPE = "leads:work"
_OF_PERSON = frozenset({"first_name", "last_name", "email", "phone", "language"})
_TAG = re.compile(r'(?:W/)?"?(\d{1,18})"?')

Answer = tuple[dict[str, Any], int, dict[str, str]]


def _own_house() -> None:
    if caller().practice_id is not None:
        raise NotAllowed("A practice's key sees what the practice sent: use /leads/{reference}.")


def _told(lead: Lead, wanted: str = "") -> dict[str, Any]:
    names = [name for name in wanted.split(",") if name] or FIELDS
    return {name: getattr(lead.contact if name in _OF_PERSON else lead, name) for name in names}


def _answer(lead: Lead, wanted: str = "") -> Answer:
    return _told(lead, wanted), 200, {"ETag": f'"{lead.version}"'}


def _at_version(reference: str, sent: str | None) -> Lead:
    """Return the lead if it is still as the caller has read it."""
    lead = service.by_reference(reference)
    if sent is None:
        raise PreconditionRequired("Send the ETag of the lead as If-Match.")
    match = _TAG.fullmatch(sent.strip())
    if match is None or int(match[1]) != lead.version:
        raise PreconditionFailed("The lead has changed since it was read. Get it again, then decide.")
    return lead


@blueprint.route("/desk/leads")
@require_scope(SCOPE)
@blueprint.arguments(LeadQuerySchema, location="query")
@blueprint.response(200, LeadPageSchema)
def list_leads(data: dict[str, Any]) -> dict[str, Any]:
    """Leads by kind, stage, owner and state, newest first, a page at a time."""
    _own_house()
    wanted = search.Wanted(
        kind=data["kind"], stage=data["stage"], state=data["state"], owner=data["owner_id"]
    )
    shown = search.page(wanted, older=data["cursor"], limit=data["limit"])
    audit.record("lead.list", detail={"ids": [lead.id for lead in shown.rows]})
    return {"leads": [_told(lead, data["fields_"]) for lead in shown.rows], "next": shown.older}


@blueprint.route("/desk/leads/<reference>")
@require_scope(SCOPE)
@blueprint.arguments(FieldsSchema, location="query")
@blueprint.response(200, LeadSchema)
def get_lead(data: dict[str, Any], reference: str) -> Answer:
    """One lead, with its version as ETag."""
    _own_house()
    lead = service.by_reference(reference)
    audit.record("lead.view", object_type="lead", object_id=lead.id, purpose="care")
    return _answer(lead, data["fields_"])


@blueprint.route("/desk/leads/<reference>/moves", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(IfMatchSchema, location="headers")
@blueprint.arguments(MoveSchema)
@blueprint.response(200, LeadSchema)
def move_lead(headers: dict[str, Any], data: dict[str, Any], reference: str) -> Answer:
    """Move a lead to another stage. 409: the move is not allowed; 412: it has changed since it was read."""
    _own_house()
    lead = _at_version(reference, headers["if_match"])
    service.move_stage(lead_id=lead.id, version=lead.version, to=data["to"], reason=data["reason"])
    return _answer(lead)


@blueprint.route("/desk/leads/<reference>/owner", methods=["PUT"])
@require_scope(SCOPE)
@blueprint.arguments(IfMatchSchema, location="headers")
@blueprint.arguments(OwnerSchema)
@blueprint.response(200, LeadSchema)
def assign_lead(headers: dict[str, Any], data: dict[str, Any], reference: str) -> Answer:
    """Give a lead to somebody, or to nobody."""
    _own_house()
    lead = _at_version(reference, headers["if_match"])
    service.assign(lead_id=lead.id, version=lead.version, owner_id=data["owner_id"])
    return _answer(lead)


@blueprint.route("/desk/leads/<reference>/notes", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(NoteSchema)
@blueprint.response(201, NotedSchema)
@once
def note_lead(data: dict[str, Any], reference: str) -> tuple[dict[str, Any], int]:
    """Add a note to a lead's timeline."""
    _own_house()
    lead = service.by_reference(reference)
    service.add_note(lead_id=lead.id, text=data["text"])
    return {"reference": lead.reference}, 201
