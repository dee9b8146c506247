"""Practices for staff: the list, the page of one, adding, editing, merging, notes, visits and tasks."""

from datetime import UTC, datetime, time

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.audit import acts
from crm.audit import service as audit
from crm.core import current
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.us_states import STATES
from crm.desk.lead_page import has_permission, submitted_version
from crm.desk.practices import practice_numbers
from crm.desk.practices.practice_page import LANGUAGES, flash_undo, render_practice
from crm.referrers import accounts, practice_form, practices, service
from crm.referrers.models import Practice
from crm.staff import access
from crm.staff import service as staff

pages = ConsolePages(
    "practices",
    __name__,
    url_prefix="/referrers",
    entries=[ConsoleEntry(label="Practices", permission="see_practices", order=20, section="People")],
)

KINDS = frozenset({"edit_practice", "merge_practices", "note_practice", "task_practice"})  # of acts


@pages.get("/")
@access.require("see_practices")
def index() -> ResponseReturnValue:
    """List practices and the portal users who wait for approval."""
    q = request.args.get("q", "").strip()[:100]
    found = practice_numbers.find_practices(q, cursor=request.args.get("cursor"))
    audit.record("practice.list", detail={"ids": [one.id for one in found.rows]})
    return render_template(
        "console/referrers/index.html",
        practices=found.rows,
        waiting=accounts.waiting() if has_permission("manage_referrers") else [],
        q=q,
        older=url_for(".index", q=q or None, cursor=found.next) if found.next else None,
        newest=url_for(".index", q=q or None) if request.args.get("cursor") else None,
    )


@pages.get("/<int:practice_id>")
@access.require("see_practices")
def show(practice_id: int) -> ResponseReturnValue:
    """Show one practice."""
    practice = practices.get(practice_id)
    if practice.id != practice_id:
        return redirect(url_for(".show", practice_id=practice.id))
    return render_practice(practice)


@pages.get("/new")
@access.require("manage_referrers")
def new() -> ResponseReturnValue:
    """Show the form of a new practice."""
    return _new_form({}, {})[0]


def _new_form(typed: dict[str, str], errors: dict[str, list[str]], status: int = 200) -> tuple[str, int]:
    page = render_template(
        "console/referrers/new.html", typed=typed, errors=errors, languages=LANGUAGES, states=list(STATES)
    )
    return page, status


@pages.post("/new")
@access.require("manage_referrers")
def create() -> ResponseReturnValue:
    """Add a practice."""
    typed = request.form.to_dict()
    read = practice_form.read_practice(typed)
    if read.wrong:
        return _new_form(typed, read.wrong, 422)
    practice = practices.add(values=read.values)
    flash(gettext("Practice added."), "success")
    return redirect(url_for(".show", practice_id=practice.id))


@pages.post("/<int:practice_id>/edit")
@access.require("manage_referrers")
def edit(practice_id: int) -> ResponseReturnValue:
    """Save the fields of a practice."""
    practice, read = practices.get(practice_id), practice_form.read_practice(request.form)
    if read.wrong:
        _show_edit_again(practice, read.wrong, 422)
    try:
        with acts.begin("edit_practice") as act:
            changed = practices.edit(practice_id=practice_id, version=submitted_version(), values=read.values)
    except Conflict as error:
        _show_edit_again(practice, {"_": [error.message]}, 409)
    if changed:
        flash_undo(gettext("Saved."), practice_id=practice_id, act=act)
    else:
        flash(gettext("Nothing was changed."), "info")
    return redirect(url_for(".show", practice_id=practice_id))


def _show_edit_again(practice: Practice, errors: dict[str, list[str]], status: int) -> None:
    abort(render_practice(practice, status, errors=errors, edit_errors=errors, edited=request.form))


@pages.post("/<int:practice_id>/clinicians")
@access.require("manage_referrers")
def add_clinician(practice_id: int) -> ResponseReturnValue:
    """Add a clinician to a practice, or correct one."""
    practice, read = practices.get(practice_id), practice_form.read_clinician(request.form)
    if read.wrong:
        abort(render_practice(practice, 422, errors=read.wrong, typed=request.form))
    clinician_id = request.form.get("clinician", "")
    name, npi = read.values["clinician_name"], read.values["npi"]
    try:
        with acts.begin("edit_practice") as act:
            if clinician_id.isdecimal() and len(clinician_id) < 19:
                _check_home(int(clinician_id), practice_id)
                practices.edit_clinician(clinician_id=int(clinician_id), name=name, npi=npi)
            else:
                practices.add_clinician(practice_id=practice_id, name=name, npi=npi)
    except Conflict as error:
        abort(render_practice(practice, 409, errors={"npi": [error.message]}, typed=request.form))
    flash_undo(gettext("Clinician saved."), practice_id=practice_id, act=act)
    return redirect(url_for(".show", practice_id=practice_id))


def _check_home(clinician_id: int, practice_id: int) -> None:
    if service.clinician(clinician_id).practice_id != practice_id:
        raise NotFound("Clinician not found.")


@pages.post("/<int:practice_id>/merge")
@access.require("manage_referrers")
def merge(practice_id: int) -> ResponseReturnValue:
    """Merge another record of the same practice into this one."""
    gone = request.form.get("gone", "")
    practice = practices.get(practice_id)
    if gone not in {str(one.id) for one in practices.look_alikes(practice)}:
        raise Invalid({"gone": ["Choose one of the possible duplicates."]})
    with acts.begin("merge_practices") as act:
        practices.merge(kept_id=practice.id, gone_id=int(gone))
    flash_undo(gettext("Practices merged."), practice_id=practice_id, act=act)
    return redirect(url_for(".show", practice_id=practice_id))


@pages.post("/<int:practice_id>/notes")
@access.require("see_practices")
def add_note(practice_id: int) -> ResponseReturnValue:
    """Note what was said or seen at a practice: a note, a call, a visit."""
    practice = practices.get(practice_id)
    try:
        with acts.begin("note_practice") as act:
            practices.add_note(
                practice_id=practice.id,
                kind=request.form.get("kind", ""),
                text=request.form.get("text", ""),
                at=_day(request.form.get("day", "")),
            )
    except Invalid as error:
        abort(render_practice(practice, 422, errors=error.fields, typed=request.form))
    flash_undo(gettext("Noted."), practice_id=practice.id, act=act)
    return redirect(url_for(".show", practice_id=practice.id) + "#notes")


def _day(text: str) -> datetime | None:
    """Return noon of a day at the clinic; None where none was entered. Raises Invalid."""
    if not text:
        return None
    try:
        day = datetime.fromisoformat(text).date()
    except ValueError as error:
        raise Invalid({"day": ["Enter a day such as 2026-12-24."]}) from error
    return datetime.combine(day, time(12), tzinfo=current.calendar().zone).astimezone(UTC)


@pages.post("/<int:practice_id>/tasks")
@access.require("see_practices")
def add_task(practice_id: int) -> ResponseReturnValue:
    """Add a task about a practice."""
    practice = practices.get(practice_id)
    owner = request.form.get("task_owner", "")
    try:
        if owner and owner not in {str(user.id) for user in staff.at_work()}:
            raise Invalid({"task_owner": ["Staff member not found."]})
        with acts.begin("task_practice") as act:
            practices.add_task(
                practice_id=practice.id,
                title=request.form.get("title", ""),
                due_at=_clinic_time(request.form.get("due_at", "")),
                owner_id=int(owner) if owner else None,
            )
    except Invalid as error:
        abort(render_practice(practice, 422, errors=error.fields, typed=request.form))
    flash_undo(gettext("Task added."), practice_id=practice.id, act=act)
    return redirect(url_for(".show", practice_id=practice.id) + "#tasks")


def _clinic_time(text: str) -> datetime:
    try:
        there = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise Invalid({"due_at": ["Enter a day and a time."]}) from error
    return there.replace(tzinfo=current.calendar().zone).astimezone(UTC)


@pages.post("/<int:practice_id>/tasks/<int:task_id>/done")
@access.require("see_practices")
def finish_task(practice_id: int, task_id: int) -> ResponseReturnValue:
    """Mark a task about a practice as done."""
    with acts.begin("task_practice") as act:
        practices.finish_task(practice_id=practice_id, task_id=task_id)
    flash_undo(gettext("Task done."), practice_id=practice_id, act=act)
    return redirect(url_for(".show", practice_id=practice_id) + "#tasks")


@pages.post("/<int:practice_id>/undo/<int:act_id>")
@access.require("see_practices")
def undo(practice_id: int, act_id: int) -> ResponseReturnValue:
    """Undo one's own act on a practice."""
    acts.undo(act_id, kinds=KINDS)
    flash(gettext("Undone."), "success")
    return redirect(url_for(".show", practice_id=practice_id))
