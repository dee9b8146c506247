"""Leads for the clinic's other systems: list, get, move, assign; notes, calls, tasks, tags, consultations, timeline."""

import re
from typing import Any

from flask_smorest import Blueprint
from werkzeug.exceptions import PreconditionFailed, PreconditionRequired

from crm.audit import service as audit
from crm.consultations import service as consultations
from crm.contacts import queries as people
from crm.contacts import service as contacts
from crm.core.errors import Invalid, NotAllowed
from crm.desk import lead_detail, search
from crm.desk.schemas import (
    FIELDS,
    CallSchema,
    ConsultationSchema,
    CursorSchema,
    FieldsSchema,
    IfMatchSchema,
    LeadPageSchema,
    LeadQuerySchema,
    LeadSchema,
    MadeSchema,
    MoveSchema,
    NewConsultationSchema,
    NewTaskSchema,
    NotedSchema,
    NoteSchema,
    OwnerSchema,
    TaskPageSchema,
    TimelineSchema,
)
from crm.desk.tasks import task_lists
from crm.desk.tasks.task_lists import TaskFilter
from crm.leads import call_log, service
from crm.leads.models import Lead
from crm.staff import service as staff
from crm.staff.keys.api_auth import caller, once, require_scope

blueprint = Blueprint("desk-api", __name__, description="Working leads")
SCOPE = "leads:work"
_OF_PERSON = frozenset({"first_name", "last_name", "email", "phone", "language"})
_TASK_ID = "<int(max=9223372036854775807):task_id>"
_TAG = re.compile(r'(?:W/)?"?(\d{1,18})"?')

Answer = tuple[dict[str, Any], int, dict[str, str]]


def _refuse_practice_keys() -> None:
    if caller().practice_id is not None:
        raise NotAllowed("A practice's key sees what the practice sent: use /leads/{reference}.")


def _fields(lead: Lead, wanted: str = "") -> dict[str, Any]:
    names = [name for name in wanted.split(",") if name] or FIELDS
    return {name: getattr(lead.contact if name in _OF_PERSON else lead, name) for name in names}


def _answer(lead: Lead, wanted: str = "") -> Answer:
    return _fields(lead, wanted), 200, {"ETag": f'"{lead.version}"'}


def _at_version(reference: str, sent: str | None) -> Lead:
    """Return the lead if its version is the one the caller read."""
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
    _refuse_practice_keys()
    wanted = search.LeadFilter(
        kind=data["kind"], stage=data["stage"], state=data["state"], owner=data["owner_id"]
    )
    shown = search.find_leads(wanted, older=data["cursor"], limit=data["limit"])
    audit.record("lead.list", detail={"ids": [lead.id for lead in shown.rows]})
    return {"leads": [_fields(lead, data["fields_"]) for lead in shown.rows], "next": shown.older}


@blueprint.route("/desk/leads/<reference>")
@require_scope(SCOPE)
@blueprint.arguments(FieldsSchema, location="query")
@blueprint.response(200, LeadSchema)
def get_lead(data: dict[str, Any], reference: str) -> Answer:
    """Return one lead, with its version as ETag."""
    _refuse_practice_keys()
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
    _refuse_practice_keys()
    lead = _at_version(reference, headers["if_match"])
    service.move_stage(lead_id=lead.id, version=lead.version, to=data["to"], reason=data["reason"])
    return _answer(lead)


@blueprint.route("/desk/leads/<reference>/owner", methods=["PUT"])
@require_scope(SCOPE)
@blueprint.arguments(IfMatchSchema, location="headers")
@blueprint.arguments(OwnerSchema)
@blueprint.response(200, LeadSchema)
def assign_lead(headers: dict[str, Any], data: dict[str, Any], reference: str) -> Answer:
    """Assign a lead, or unassign it."""
    _refuse_practice_keys()
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
    _refuse_practice_keys()
    lead = service.by_reference(reference)
    service.add_note(lead_id=lead.id, text=data["text"])
    return {"reference": lead.reference}, 201


@blueprint.route("/desk/leads/<reference>/timeline")
@require_scope(SCOPE)
@blueprint.arguments(CursorSchema, location="query")
@blueprint.response(200, TimelineSchema)
def timeline_of(data: dict[str, Any], reference: str) -> dict[str, Any]:
    """Return the timeline of a lead's person, newest first, without free text, which may be clinical."""
    _refuse_practice_keys()
    lead = service.by_reference(reference)
    audit.record("lead.view", object_type="lead", object_id=lead.id, purpose="care")
    lines = people.timeline(contact_id=lead.contact_id, cursor=data["cursor"], limit=data["limit"])
    told = lead_detail.label_entries(lines.rows, names={}, clinical=False)
    entries = [
        {"at": entry.at, "source": line.source, "kind": line.kind, "title": entry.title, "why": entry.why}
        for line, entry in zip(lines.rows, told, strict=True)
    ]
    return {"entries": entries, "next": lines.next}


@blueprint.route("/desk/leads/<reference>/calls", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(CallSchema)
@blueprint.response(201, NotedSchema)
@once
def log_call(data: dict[str, Any], reference: str) -> tuple[dict[str, Any], int]:
    """Log an attempt to reach the person. Speaking to them moves a new lead on. 409: the lead is closed."""
    _refuse_practice_keys()
    lead = service.by_reference(reference)
    call_log.log_call(lead_id=lead.id, **data)
    return {"reference": lead.reference}, 201


@blueprint.route("/desk/leads/<reference>/tasks", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(NewTaskSchema)
@blueprint.response(201, MadeSchema)
@once
def add_task(data: dict[str, Any], reference: str) -> tuple[dict[str, Any], int]:
    """Add a task with a due time."""
    _refuse_practice_keys()
    lead = service.by_reference(reference)
    if data["owner_id"] is not None and data["owner_id"] not in {user.id for user in staff.lead_workers()}:
        raise Invalid({"owner_id": ["Staff member not found."]})
    task = service.add_task(lead_id=lead.id, kind="other", **data)
    return {"id": task.id}, 201


@blueprint.route("/desk/tasks")
@require_scope(SCOPE)
@blueprint.arguments(CursorSchema, location="query")
@blueprint.response(200, TaskPageSchema)
def list_tasks(data: dict[str, Any]) -> dict[str, Any]:
    """List all open tasks, most urgent first."""
    _refuse_practice_keys()
    shown = task_lists.load_tasks(TaskFilter(), cursor=data["cursor"], limit=data["limit"])
    audit.record("task.list", detail={"ids": [item.lead.id for item in shown.rows]})
    tasks = [
        {
            "id": item.task.id,
            "reference": item.lead.reference,
            "kind": item.task.kind,
            "title": item.task.title,
            "due_at": item.task.due_at,
            "owner_id": item.task.owner_id,
        }
        for item in shown.rows
    ]
    return {"tasks": tasks, "next": shown.next}


@blueprint.route(f"/desk/tasks/{_TASK_ID}/done", methods=["POST"])
@require_scope(SCOPE)
@blueprint.response(200, MadeSchema)
def task_done(task_id: int) -> dict[str, Any]:
    """Mark a task as done. 409: it was already done."""
    _refuse_practice_keys()
    service.finish_task(task_id=task_id)
    return {"id": task_id}


@blueprint.route("/desk/leads/<reference>/tags/<tag>", methods=["PUT"])
@require_scope(SCOPE)
@blueprint.response(200, NotedSchema)
def put_tag(reference: str, tag: str) -> dict[str, Any]:
    """Add a tag to the person of a lead; repeating it changes nothing."""
    _refuse_practice_keys()
    lead = service.by_reference(reference)
    contacts.add_tag(contact_id=lead.contact_id, tag=tag)
    return {"reference": lead.reference}


@blueprint.route("/desk/leads/<reference>/tags/<tag>", methods=["DELETE"])
@require_scope(SCOPE)
@blueprint.response(200, NotedSchema)
def take_tag_off(reference: str, tag: str) -> dict[str, Any]:
    """Remove a tag from the person of a lead; repeating it changes nothing."""
    _refuse_practice_keys()
    lead = service.by_reference(reference)
    contacts.remove_tag(contact_id=lead.contact_id, tag=tag)
    return {"reference": lead.reference}


@blueprint.route("/desk/leads/<reference>/consultations", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(IfMatchSchema, location="headers")
@blueprint.arguments(NewConsultationSchema)
@blueprint.response(201, ConsultationSchema)
def book(headers: dict[str, Any], data: dict[str, Any], reference: str) -> dict[str, Any]:
    """Book a consultation; the lead moves on and the person gets an email. 409: one is booked, or the stage is too early."""
    _refuse_practice_keys()
    lead = _at_version(reference, headers["if_match"])
    made = consultations.book(lead_id=lead.id, version=lead.version, **data)
    return {"id": made.id, "starts_at": made.starts_at, "minutes": made.minutes, "state": made.state}
