"""Leads for staff: the list, one lead with its timeline, and the work on it."""

from collections.abc import Sequence
from typing import Any

from flask import (
    abort,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_security import current_user

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import queries as people
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.desk import saved_filters, worklists
from crm.desk import search as listing
from crm.desk.bulk import actions as bulk_actions
from crm.desk.bulk import service as bulk
from crm.desk.lead_page import (
    STOPS,
    clinical_details,
    flash_undo,
    has_permission,
    redirect_back,
    render_lead,
    submitted_version,
    timeline_entries,
)
from crm.desk.list_filters import KINDS, LABELS, SOURCES, STATES, address, filter_from, options
from crm.desk.people import contact_search
from crm.desk.practices import practice_numbers
from crm.desk.search import LeadFilter
from crm.leads import queries, rules, service
from crm.referrers.models import Practice
from crm.staff import access
from crm.staff import service as staff
from crm.staff.models import User


def _my_open_tasks() -> int:
    return worklists.urgent_task_count(current_user.id) if has_permission("work_leads") else 0


pages = ConsolePages(
    "leads",
    __name__,
    url_prefix="/leads",
    entries=[ConsoleEntry(label="Leads", permission="see_leads", order=10, count=_my_open_tasks)],
)

ON_PAPER = 1_000  # lines of a timeline


@pages.get("")
@access.require("see_leads")
def index() -> ResponseReturnValue:
    """List leads, newest first."""
    asked = {name: request.args.get(name, "").strip() for name in LABELS}
    shown = listing.find_leads(
        filter_from(asked), older=request.args.get("older"), newer=request.args.get("newer")
    )
    first_page = not (request.args.get("older") or request.args.get("newer"))
    leads = queries.crisis_first(shown.rows) if first_page else shown.rows
    audit.record("lead.list", detail={"ids": [lead.id for lead in leads], "filters": _codes(asked)})
    owners = staff.lead_workers()
    return render_template(
        "console/desk/leads.html",
        leads=leads,
        in_crisis=queries.people_in_crisis(),
        asked=asked,
        tags=_tags(asked, {str(user.id): user.name for user in owners}),
        older=address(".index", **asked, older=shown.older) if shown.older else None,
        newer=address(".index", **asked, newer=shown.newer) if shown.newer else None,
        looked_at=shown.looked_at,
        here=request.full_path.rstrip("?"),
        now=clock.now(),
        **_filter_choices(asked, owners),
        **_bulk_choices(owners),
    )


def _filter_choices(asked: dict[str, str], owners: Sequence[User]) -> dict[str, Any]:
    return {
        "kinds": KINDS,
        "states": STATES,
        "sources": SOURCES,
        "stage_options": options({stage for stages in rules.STAGES.values() for stage in stages}),
        "owner_options": [
            ("me", "Me"), ("nobody", "Unassigned"), *((user.id, user.name) for user in owners)
        ],
        "saved": saved_filters.filters_of(current_user.id),
        "chosen": {name: asked[name] for name in saved_filters.KEPT["leads"] if asked[name]},
    }  # fmt: skip


def _bulk_choices(owners: Sequence[User]) -> dict[str, Any]:
    return {
        "staff_options": [(user.id, user.name) for user in owners],
        "move_options": options(bulk_actions.MOVES),
        "reason_options": options({one for stage in bulk_actions.MOVES.values() for one in stage.reasons}),
        "most": bulk.MOST,
    }


def _codes(asked: dict[str, str]) -> dict[str, str]:
    """Return the filters for the audit log, without the search words, which may be a name."""
    return {name: value if name != "q" else "*" for name, value in asked.items() if value}


def _tags(asked: dict[str, str], owners: dict[str, str]) -> list[dict[str, str]]:
    words = {
        "kind": KINDS,
        "state": STATES,
        "source": SOURCES,
        "owner": {"me": "me", "nobody": "unassigned", **owners},
    }
    return [
        {
            "label": LABELS[name],
            "value": words.get(name, {}).get(value, rules.label(value) if name == "stage" else value),
            "href": address(".index", **(asked | {name: ""})),
        }
        for name, value in asked.items()
        if value
    ]


def _practices_found(q: str) -> Sequence[Practice]:
    return practice_numbers.find_practices(q).rows[:5] if q and has_permission("see_practices") else []


def _people_found(q: str) -> Sequence[Contact]:
    return contact_search.people_without_leads(q) if q and has_permission("see_identity") else []


@pages.get("/search")
@access.require("see_leads")
def search() -> ResponseReturnValue:
    """Search by name prefix, email address, phone number or reference."""
    q = request.args.get("q", "").strip()
    shown = listing.find_leads(LeadFilter(q=q, named=has_permission("see_identity"))) if q else None
    found = shown.rows if shown else []
    leads = queries.crisis_first(found, belongs=lambda lead: lead in found)
    practices, people_found = _practices_found(q), _people_found(q)
    audit.record(
        "lead.search",
        detail={"ids": [lead.id for lead in leads], "contacts": [one.id for one in people_found]},
    )
    if len(leads) + len(people_found) + len(practices) == 1 and not practices:
        if leads:
            return redirect(url_for(".show", reference=leads[0].reference))
        return redirect(url_for("console.contacts.show", contact_id=people_found[0].id))
    more = address(".index", q=q) if shown and shown.older else None
    return render_template(
        "console/desk/search.html",
        q=q,
        leads=leads,
        people=people_found,
        practices=practices,
        more=more,
        in_crisis=queries.people_in_crisis(),
        now=clock.now(),
    )


@pages.get("/<reference>")
@access.require("see_leads")
def show(reference: str) -> ResponseReturnValue:
    """Show one lead with its timeline and next steps."""
    return render_lead(service.by_reference(reference))


@pages.get("/<reference>/print")
@access.require("see_leads")
def print_page(reference: str) -> ResponseReturnValue:
    """Show one lead and its timeline for printing."""
    lead = service.by_reference(reference)
    audit.record("lead.print", object_type="lead", object_id=lead.id, purpose="care")
    clinical = has_permission("read_clinical")
    lines = people.timeline(contact_id=lead.contact_id, limit=ON_PAPER)
    return render_template(
        "console/desk/lead_print.html",
        lead=lead,
        person=lead.contact,
        clinical=clinical_details(lead) if clinical else None,
        entries=timeline_entries(lines.rows, clinical=clinical),
        whole=lines.next is None,
        kinds=KINDS,
        code_label=rules.label,
        now=clock.now(),
    )


@pages.post("/<reference>/stage")
@access.require("work_leads")
def move(reference: str) -> ResponseReturnValue:
    """Move to another stage, with a reason where the stage asks for one."""
    lead = service.by_reference(reference)
    to, reason = request.form.get("to", ""), request.form.get("reason") or None
    if to not in rules.STAGES[lead.kind]:
        abort(render_lead(lead, 422, errors={"to": ["Choose the stage to move to."]}))
    with acts.begin("move", lead_id=lead.id) as act:
        service.move_stage(lead_id=lead.id, version=submitted_version(), to=to, reason=reason)
    flash_undo(f"Moved to “{rules.label(to)}”.", lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/reopen-final")
@access.require("reopen_leads")
def reopen(reference: str) -> ResponseReturnValue:
    """Reopen a lead from a final stage, with a reason."""
    lead = service.by_reference(reference)
    try:
        with acts.begin("reopen", lead_id=lead.id) as act:
            service.reopen(
                lead_id=lead.id, version=submitted_version(), reason=request.form.get("why_reopen", "")
            )
    except Invalid as error:
        abort(render_lead(lead, 422, errors={"why_reopen": error.fields["reason"]}))
    flash_undo(f"Reopened: “{rules.label(lead.stage)}”.", lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/owner")
@access.require("work_leads")
def assign(reference: str) -> ResponseReturnValue:
    """Assign the lead, or unassign it."""
    lead = service.by_reference(reference)
    chosen = request.form.get("owner", "")
    known = chosen.isdecimal() and len(chosen) < 19
    owner_id = int(chosen) if known else None
    with acts.begin("assign", lead_id=lead.id) as act:
        service.assign(lead_id=lead.id, version=submitted_version(), owner_id=owner_id)
    flash_undo("Owner saved.", lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/notes")
@access.require("work_leads")
def add_note(reference: str) -> ResponseReturnValue:
    """Add a note."""
    lead = service.by_reference(reference)
    try:
        service.add_note(lead_id=lead.id, text=request.form.get("text", ""))
    except Invalid as error:
        abort(render_lead(lead, 422, errors=error.fields, typed=request.form))
    flash("Note added.", "success")
    return redirect_back(lead)


@pages.post("/<reference>/outcome")
@access.require("work_leads")
def outcome(reference: str) -> ResponseReturnValue:
    """Record what was sent to the referrer, and how."""
    lead = service.by_reference(reference)
    what, how = request.form.get("what", ""), request.form.get("how", "")
    try:
        with acts.begin("outcome", lead_id=lead.id) as act:
            service.record_outcome_sent(lead_id=lead.id, what=what, how=how)
    except Invalid as error:
        abort(render_lead(lead, 422, errors=error.fields))
    flash_undo("Outcome marked as sent.", lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/tasks/<int:task_id>/done")
@access.require("work_leads")
def task_done(reference: str, task_id: int) -> ResponseReturnValue:
    """Mark a task as done."""
    lead = service.by_reference(reference)
    with acts.begin("task", lead_id=lead.id) as act:
        service.finish_task(task_id=task_id)
    flash_undo("Task done.", lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/stop")
@access.require("clinical_stop")
def stop(reference: str) -> ResponseReturnValue:
    """Set the clinical stop: no more emails to this person."""
    lead = service.by_reference(reference)
    reason = request.form.get("reason", "")
    if reason not in STOPS:
        abort(render_lead(lead, 422, errors={"stop": ["Choose the reason for the clinical stop."]}))
    with acts.begin("stop", lead_id=lead.id) as act:
        contacts.set_clinical_stop(contact_id=lead.contact_id, reason=reason)
    text = "Clinical stop set. No more emails are sent to this person."
    if has_permission("lift_stop"):
        flash_undo(text, lead=lead, act=act)
    else:
        flash(text, "success")
    return redirect_back(lead)


@pages.post("/<reference>/lift-stop")
@access.require("lift_stop")
def lift_stop(reference: str) -> ResponseReturnValue:
    """Lift the clinical stop."""
    lead = service.by_reference(reference)
    with acts.begin("lift_stop", lead_id=lead.id) as act:
        contacts.lift_clinical_stop(contact_id=lead.contact_id)
    flash_undo("Clinical stop lifted.", lead=lead, act=act)
    return redirect_back(lead)
