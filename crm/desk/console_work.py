"""The front desk's pages: work lists, tasks, the call log, consultations, and who takes new leads."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user

from crm.audit import acts
from crm.audit import service as audit
from crm.consultations import ical
from crm.consultations import queries as visits
from crm.consultations import service as consultations
from crm.consultations.models import Consultation
from crm.core import clock, current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid, NotFound
from crm.core.flashes import flash_with_undo
from crm.desk import worklists
from crm.desk.calling import call_list
from crm.desk.calling.call_list import CallPlace
from crm.desk.lead_page import (
    clinic_time,
    flash_undo,
    redirect_back,
    render_lead,
    submitted_version,
    whole_number,
)
from crm.desk.list_filters import KINDS
from crm.duplicates import service as duplicates
from crm.leads import assignment, call_log, crisis, queries, service
from crm.leads.models import Lead
from crm.staff import access
from crm.staff import service as staff

pages = ConsolePages("work", __name__, url_prefix="/leads", part_of="leads")

TODAY = "today"


@pages.get("/work")
@access.require("see_leads")
def index() -> ResponseReturnValue:
    """One work list, and how long the others are."""
    name, cursor = request.args.get("list", worklists.FIRST), request.args.get("cursor")
    if name not in worklists.LISTS and name != TODAY:
        raise Invalid({"list": ["List not found."]})
    day: Sequence[Consultation] = ()
    leads: Sequence[Lead]
    places: Mapping[int, CallPlace] = {}
    following = None
    if name == TODAY:
        day = visits.between(clock.today(), clock.today())
        leads = [one.lead for one in day]
    elif name == worklists.FIRST:
        leads, places, following = _calls(cursor)
    else:
        shown = worklists.load_list(name, me=current_user.id, cursor=cursor)
        leads, following = shown.rows, shown.next
    later = following and url_for(".index", list=name, cursor=following)
    audit.record("lead.worklist", detail={"list": name, "ids": [lead.id for lead in leads]})
    return render_template(
        "console/desk/work.html",
        name=name,
        lists=worklists.LISTS,
        counts=worklists.list_counts(me=current_user.id),
        leads=leads,
        places=places,
        in_crisis=queries.people_in_crisis(),
        day=day,
        later=later,
        kinds=KINDS,
        now=clock.now(),
    )


def _calls(cursor: str | None) -> tuple[Sequence[Lead], Mapping[int, CallPlace], str | None]:
    """Return the leads to call, crises first, why each stands where it stands, and the marker of the next page."""
    calls = call_list.load_calls(me=current_user.id, cursor=cursor)
    leads = [place.lead for place in calls.rows]
    places = {place.lead.id: place for place in calls.rows}
    return (leads if cursor else queries.crisis_first(leads)), places, calls.next


def _show_errors(lead: Lead, error: Invalid) -> None:
    abort(render_lead(lead, 422, errors=error.fields, typed=request.form))


@pages.post("/<reference>/calls")
@access.require("work_leads")
def log_call(reference: str) -> ResponseReturnValue:
    """Log an attempt to reach the person."""
    lead = service.by_reference(reference)
    try:
        again = clinic_time("call_again_at") if request.form.get("call_again_at") else None
        with acts.begin("call", lead_id=lead.id) as act:
            call_log.log_call(
                lead_id=lead.id,
                channel=request.form.get("channel", ""),
                outcome=request.form.get("outcome", ""),
                note=request.form.get("note", ""),
                call_again_at=again,
            )
    except Invalid as error:
        _show_errors(lead, error)
    flash_undo(gettext("Attempt %(number)s logged.", number=lead.attempts), lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/tasks")
@access.require("work_leads")
def add_task(reference: str) -> ResponseReturnValue:
    """Add a task with a due time."""
    lead = service.by_reference(reference)
    try:
        due = clinic_time("due_at")
        title, owner_id = request.form.get("title", ""), whole_number("task_owner")
        if not clock.now() < due < clock.now() + timedelta(days=366):
            raise Invalid({"due_at": ["Choose a time within the next year."]})
        if owner_id is not None and owner_id not in {user.id for user in staff.lead_workers()}:
            raise Invalid({"task_owner": ["Staff member not found."]})
        priority, repeats = request.form.get("priority") or "normal", request.form.get("repeats") or None
        with acts.begin("task", lead_id=lead.id) as act:
            task = service.add_task(
                lead_id=lead.id,
                kind="other",
                title=title,
                due_at=due,
                owner_id=owner_id,
                priority=priority,
                repeats=repeats,
            )
    except Invalid as error:
        _show_errors(lead, error)
    said = gettext("Task added.")
    if task.done_at is not None:
        said = gettext("The work on this person is suspended. The task opens when it resumes.")
    flash_undo(said, lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/undo/<int:act_id>")
@access.require("work_leads")
def undo(reference: str, act_id: int) -> ResponseReturnValue:
    """Undo an act of the signed-in user on a lead."""
    lead = service.by_reference(reference)
    consultations.undo_act(act_id, lead_id=lead.id)
    flash(gettext("Undone."), "success")
    return redirect_back(lead)


@pages.post("/<reference>/crisis/assign")
@access.require("work_leads")
def assign_crisis(reference: str) -> ResponseReturnValue:
    """Assign the crises of a lead's person to the signed-in user; their leads then stand in lists by age."""
    lead = service.by_reference(reference)
    with acts.begin("crisis", lead_id=lead.id) as act:
        crisis.assign(lead.contact_id, owner_id=current_user.id)
    flash_undo(gettext("The crisis is assigned to you."), lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/crisis/close")
@access.require("work_leads")
def end_crisis(reference: str) -> ResponseReturnValue:
    """Close the crises of a lead's person; the work on them resumes."""
    lead = service.by_reference(reference)
    with acts.begin("crisis", lead_id=lead.id) as act:
        crisis.close(lead.contact_id)
    flash_undo(gettext("Crisis closed. Tasks and deadlines run again."), lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/consultations")
@access.require("work_leads")
def book(reference: str) -> ResponseReturnValue:
    """Book a consultation."""
    lead = service.by_reference(reference)
    try:
        starts_at, minutes = clinic_time("starts_at"), whole_number("minutes") or 60
        with acts.begin("book", lead_id=lead.id) as act:
            consultations.book(
                lead_id=lead.id,
                version=submitted_version(),
                starts_at=starts_at,
                minutes=minutes,
                clinician_id=whole_number("clinician"),
                room_id=whole_number("room"),
                confirmed=request.form.get("confirmed") == "yes",
            )
    except Invalid as error:
        _show_errors(lead, error)
    flash_undo(gettext("Consultation booked."), lead=lead, act=act)
    return redirect_back(lead)


def _choice(field: str) -> int | None:
    """Return a choice of the form: 0 for not decided, None if the form does not ask."""
    return (whole_number(field) or 0) if field in request.form else None


@pages.post("/<reference>/consultations/<int:consultation_id>/time")
@access.require("work_leads")
def rebook(reference: str, consultation_id: int) -> ResponseReturnValue:
    """Reschedule a consultation."""
    lead = service.by_reference(reference)
    consultations.get(lead_id=lead.id, consultation_id=consultation_id)
    try:
        starts_at = clinic_time("starts_at")
        confirmed = request.form.get("confirmed") == "yes"
        with acts.begin("rebook", lead_id=lead.id) as act:
            consultations.rebook(
                consultation_id=consultation_id,
                starts_at=starts_at,
                minutes=whole_number("minutes"),
                clinician_id=_choice("clinician"),
                room_id=_choice("room"),
                confirmed=confirmed,
            )
    except Invalid as error:
        _show_errors(lead, error)
    flash_undo(gettext("Consultation rescheduled."), lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/consultations/<int:consultation_id>/state")
@access.require("work_leads")
def finish(reference: str, consultation_id: int) -> ResponseReturnValue:
    """Record the result of a consultation."""
    lead = service.by_reference(reference)
    consultations.get(lead_id=lead.id, consultation_id=consultation_id)
    state = request.form.get("state", "")
    with acts.begin("consultation", lead_id=lead.id) as act:
        consultations.finish(consultation_id=consultation_id, state=state, version=submitted_version())
    flash_undo(gettext("Consultation updated."), lead=lead, act=act)
    return redirect_back(lead)


@pages.get("/<reference>/consultations/<int:consultation_id>.ics")
@access.require("see_leads")
def calendar(reference: str, consultation_id: int) -> ResponseReturnValue:
    """Return a calendar file for staff, without the person's name."""
    lead = service.by_reference(reference)
    found = consultations.get(lead_id=lead.id, consultation_id=consultation_id)
    sequences = visits.sequences([lead.id])
    text = ical.calendar_file([found], sequences=sequences, settings=current.settings())
    headers = {"Content-Disposition": f'attachment; filename="{lead.reference}.ics"'}
    return Response(text, mimetype="text/calendar", headers=headers)


@pages.get("/turns")
@access.require("manage_staff")
def assignment_rules() -> ResponseReturnValue:
    """Show the assignment rules."""
    return _render_rules()


def _render_rules(status: int = 200, errors: dict[str, list[str]] | None = None) -> tuple[str, int]:
    taking = {one.user_id: one for one in assignment.assignees()}
    page = render_template(
        "console/desk/assignment.html", people=staff.lead_workers(), taking=taking, errors=errors or {}
    )
    return page, status


@pages.post("/turns/<int:user_id>")
@access.require("manage_staff")
def set_rule(user_id: int) -> ResponseReturnValue:
    """Set or remove the assignment rule of a staff member."""
    try:
        if request.form.get("takes") == "yes":
            languages = request.form.getlist("languages")
            states = request.form.get("states", "").upper().replace(",", " ").split()
            capacity = whole_number("capacity")
            assignment.set_assignee(user_id=user_id, languages=languages, states=states, capacity=capacity)
        else:
            assignment.remove_assignee(user_id=user_id)
    except Invalid as error:
        return _render_rules(422, dict(error.fields))
    flash(gettext("Saved."), "success")
    return redirect(url_for(".assignment_rules"))


@pages.post("/<reference>/merge")
@access.require("manage_contacts")
def merge(reference: str) -> ResponseReturnValue:
    """Merge another record of the same person into this one."""
    lead = service.by_reference(reference)
    gone_id = whole_number("gone")
    if gone_id not in {one.contact.id for one in duplicates.candidates(lead.contact)} or gone_id is None:
        raise Invalid({"gone": ["Choose one of the possible duplicates."]})
    made = duplicates.merge_contacts(kept_id=lead.contact_id, gone_id=gone_id)
    undo = url_for(".unmerge", reference=lead.reference, merge_id=made.id)
    flash_with_undo(gettext("Records merged."), undo=undo)
    return redirect_back(lead)


@pages.post("/<reference>/unmerge/<int:merge_id>")
@access.require("manage_contacts")
def unmerge(reference: str, merge_id: int) -> ResponseReturnValue:
    """Undo a merge."""
    lead = service.by_reference(reference)
    if merge_id not in {one.id for one in duplicates.merges_into(lead.contact_id)}:
        raise NotFound("Merge not found.")
    duplicates.undo_merge(merge_id)
    flash(gettext("Merge undone. Both records and their consent are as before."), "success")
    return redirect_back(lead)
