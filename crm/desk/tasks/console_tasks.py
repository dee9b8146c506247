"""Task pages: open tasks by person and day, editing one, and finishing, assigning or snoozing many."""

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_security import current_user

from crm.audit import acts
from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.core import clock, current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid
from crm.core.flashes import flash_with_undo
from crm.desk.lead_page import clinic_time, flash_undo, submitted_version, whole_number
from crm.desk.list_filters import address
from crm.desk.tasks import task_lists
from crm.desk.tasks.task_lists import NOBODY, TaskFilter
from crm.leads import queries, service
from crm.leads.models import Lead, Task
from crm.leads.tasks import rules as task_rules
from crm.leads.tasks import service as task_work
from crm.leads.tasks.service import TaskForm
from crm.staff import access, redirects
from crm.staff import service as staff

pages = ConsolePages("tasks", __name__, url_prefix="/leads/tasks", part_of="leads")


@pages.get("")
@access.require("see_leads")
def index() -> ResponseReturnValue:
    """Open tasks by day: mine, those of another person or of no one, or all."""
    asked = {name: request.args.get(name, "").strip() for name in ("who", "day", "priority")}
    shown = task_lists.load_tasks(_filter(asked), cursor=request.args.get("cursor"))
    audit.record("task.list", detail={"ids": [item.lead.id for item in shown.rows]})
    return render_template(
        "console/desk/tasks.html",
        groups=task_lists.by_day(shown.rows),
        in_crisis=queries.people_in_crisis(),
        asked=asked,
        days=list(task_lists.DAYS.items()),
        later=address(".index", **asked, cursor=shown.next) if shown.next else None,
        here=request.full_path.rstrip("?"),
        now=clock.now(),
        **_choices(),
    )


def _choices() -> dict[str, Any]:
    today = clock.today()
    return {
        "people": [(user.id, user.name) for user in staff.lead_workers()],
        "priorities": list(task_rules.PRIORITIES.items()),
        "priority_words": task_rules.PRIORITIES,
        "repeats": list(task_rules.REPEATS.items()),
        "repeat_words": task_rules.REPEATS,
        "snoozes": list(task_rules.SNOOZES.items()),
        "today": today,
    }


def _filter(asked: dict[str, str]) -> TaskFilter:
    if asked["priority"] not in ("", *task_rules.PRIORITIES):
        raise Invalid({"priority": ["Choose a priority."]})
    return TaskFilter(who=_who(asked["who"]), day=asked["day"], priority=asked["priority"])


def _who(text: str) -> int | None:
    if text in ("", "all", "nobody"):
        places: dict[str, int | None] = {"": current_user.id, "all": None, "nobody": NOBODY}
        return places[text]
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid({"who": ["Staff member not found."]})
    return int(text)


@pages.get("/<int:task_id>")
@access.require("see_leads")
def show(task_id: int) -> ResponseReturnValue:
    """Show one task to edit."""
    return _render_task(task_work.get(task_id))


def _render_task(
    task: Task,
    status: int = 200,
    errors: dict[str, list[str]] | None = None,
    *,
    was_changed: bool = False,
) -> tuple[str, int]:
    lead = service.get(task.lead_id)
    audit.record("task.view", object_type="lead", object_id=lead.id)
    page = render_template(
        "console/desk/task.html",
        task=task,
        lead=lead,
        in_crisis=queries.people_in_crisis(),
        due=task.due_at.astimezone(current.calendar().zone).strftime("%Y-%m-%dT%H:%M"),
        errors=errors or {},
        was_changed=was_changed,
        typed=request.form,
        back=redirects.safe_next_url(),
        **_choices(),
    )
    return page, status


@pages.post("/<int:task_id>")
@access.require("work_leads")
def edit(task_id: int) -> ResponseReturnValue:
    """Save an edited task."""
    task = task_work.get(task_id)
    lead = service.get(task.lead_id)
    try:
        due = clinic_time("due_at")
        form = TaskForm(
            title=request.form.get("title", ""),
            due_at=task.due_at if due == task.due_at.replace(second=0, microsecond=0) else due,
            owner_id=whole_number("task_owner"),
            priority=request.form.get("priority") or "normal",
            repeats=request.form.get("repeats") or None,
        )
        with acts.begin("task", lead_id=lead.id) as act:
            task_work.edit(task_id=task_id, form=form, version=submitted_version())
    except Invalid as error:
        return _render_task(task, 422, dict(error.fields))
    except task_work.Changed:
        return _render_task(task_work.get(task_id), 409, was_changed=True)
    flash_undo(gettext("Task saved."), lead=lead, act=act)
    return redirect(redirects.safe_next_url() or url_for(".index"))


@pages.post("/<int:task_id>/done")
@access.require("work_leads")
def finish(task_id: int) -> ResponseReturnValue:
    """Mark a task as done."""
    lead = service.of_task(task_id)
    with acts.begin("task", lead_id=lead.id) as act:
        service.finish_task(task_id=task_id)
    return _done(gettext("Task done."), lead, act)


@pages.post("/<int:task_id>/snooze/<until>")
@access.require("work_leads")
def snooze(task_id: int, until: str) -> ResponseReturnValue:
    """Put a task off."""
    lead = service.of_task(task_id)
    with acts.begin("task", lead_id=lead.id) as act:
        task_work.snooze(task_id=task_id, until=until)
    return _done(gettext("Task snoozed."), lead, act)


def _done(text: str, lead: Lead, act: StaffAct) -> ResponseReturnValue:
    back = redirects.safe_next_url() or url_for(".index")
    flash_undo(text, lead=lead, act=act, back=back)
    return redirect(back)


@pages.post("/many")
@access.require("work_leads")
def change_many() -> ResponseReturnValue:
    """Finish, assign or snooze the selected tasks."""
    picked = {int(one) for one in request.form.getlist("pick") if one.isdecimal() and len(one) < 19}
    done = task_work.change_many(
        task_ids=picked,
        do=request.form.get("do", ""),
        owner_id=whole_number("to"),
        until=request.form.get("until", ""),
    )
    back = redirects.safe_next_url() or url_for(".index")
    text = ngettext("%(num)s task changed.", "%(num)s tasks changed.", done.done)
    if done.skipped:
        text += " " + ngettext("%(num)s skipped.", "%(num)s skipped.", done.skipped)
    undo = url_for(".undo_many", act_id=done.act.id, back=back)
    flash_with_undo(text, undo=undo)
    return redirect(back)


@pages.post("/undo/<int:act_id>")
@access.require("work_leads")
def undo_many(act_id: int) -> ResponseReturnValue:
    """Undo an act on several tasks."""
    task_work.undo_many(act_id)
    flash(gettext("Undone."), "success")
    return redirect(redirects.safe_next_url() or url_for(".index"))
