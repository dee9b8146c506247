"""Task work: edit, assign, put off, and finish tasks, one or many."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from crm.audit import acts
from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.contacts import service as contacts
from crm.core import clock, current
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.leads import crisis, service
from crm.leads.models import Lead, Task
from crm.leads.queries import CRISIS
from crm.leads.tasks.rules import PRIORITIES, REPEATS, snoozed_until
from crm.staff import service as staff
from crm.staff.notifications import service as notifications

MOST = 100  # tasks changed at once
MAX_AHEAD = timedelta(days=366)
MANY = "tasks"  # the kind of an act on several leads
CHANGED = "This task was changed in the meantime. Review it and try again."


class Changed(Conflict):
    """Another person changed the task since the form was made."""


@dataclass(frozen=True, kw_only=True)
class TaskForm:
    """What an edited task says."""

    title: str
    due_at: datetime
    owner_id: int | None = None
    priority: str = "normal"
    repeats: str | None = None


def get(task_id: int) -> Task:
    """Return a task. Raises NotFound."""
    task = db.session.get(Task, task_id)
    if task is None:
        raise NotFound("Task not found.")
    return task


def edit(*, task_id: int, form: TaskForm, version: int) -> Task:
    """Change an open task that is still at `version`. A new time outside opening hours becomes the next opening.

    Raises Invalid, Changed, and Conflict for a task that is done or belongs to a crisis.
    """
    task = _open_task(task_id)
    if task.version != version:
        raise Changed(CHANGED)
    if task.kind == CRISIS:
        raise Conflict(
            "The task of a crisis cannot be changed. Assign it to yourself on the page of the lead."
        )
    title = service.typed_text("title", form.title, limit=service.TITLE_LIMIT, lines=False)
    wrong = _wrong(form, task)
    if not title:
        wrong["title"] = ["Enter a title of up to 120 characters."]
    if wrong:
        raise Invalid(wrong)
    is_new_title = title != task.title
    is_new_owner = form.owner_id != task.owner_id
    if form.due_at != task.due_at:
        task.due_at = current.calendar().next_open(form.due_at)
    task.title, task.owner_id = title, form.owner_id
    task.priority, task.repeats = form.priority, form.repeats
    _record(task, "edited")
    lead = service.get(task.lead_id)
    if is_new_owner:
        notifications.notify_of_task(task.owner_id, task_id=task.id, reference=lead.reference)
    if is_new_title:
        crisis.alert_if_crisis(title, lead_id=lead.id, reference=lead.reference)
    return task


def _wrong(form: TaskForm, task: Task) -> dict[str, list[str]]:
    now, wrong = clock.now(), {}
    if form.due_at != task.due_at and not now < form.due_at < now + MAX_AHEAD:
        wrong["due_at"] = ["Choose a time within the next year."]
    if form.owner_id not in (None, task.owner_id) and not _may_own(form.owner_id):
        wrong["task_owner"] = ["Staff member not found."]
    if form.priority not in PRIORITIES:
        wrong["priority"] = ["Choose a priority."]
    if form.repeats not in (None, *REPEATS):
        wrong["repeats"] = ["Choose how often it repeats."]
    elif form.repeats and task.kind != "other":
        wrong["repeats"] = ["Only tasks that staff add can repeat."]
    return wrong


def _may_own(user_id: int | None) -> bool:
    return user_id in {user.id for user in staff.lead_workers()}


def assign(*, task_id: int, owner_id: int | None) -> Task:
    """Assign an open task, or (None) leave it to the owner of its lead. Raises Invalid, Conflict."""
    if owner_id is not None and not _may_own(owner_id):
        raise Invalid({"to": ["Staff member not found."]})
    task = _open_task(task_id)
    task.owner_id = owner_id
    _record(task, "assigned")
    reference = service.get(task.lead_id).reference
    notifications.notify_of_task(owner_id, task_id=task.id, reference=reference)
    return task


def snooze(*, task_id: int, until: str) -> Task:
    """Put an open task off. Raises Invalid for an unknown time, and Conflict for the task of a crisis."""
    task, calendar = _open_task(task_id), current.calendar()
    if task.kind == CRISIS:
        raise Conflict("The task of a crisis cannot be put off.")
    try:
        due = snoozed_until(until, due_at=task.due_at, now=clock.now(), zone=calendar.zone)
    except KeyError as error:
        raise Invalid({"until": ["Choose until when."]}) from error
    task.due_at = calendar.next_open(due)
    _record(task, "snoozed")
    return task


def _open_task(task_id: int) -> Task:
    task = db.session.get(Task, task_id, with_for_update=True, populate_existing=True)
    if task is None:
        raise NotFound("Task not found.")
    if task.done_at is not None:
        raise Conflict("This task is already done.")
    return task


def _record(task: Task, what: str) -> None:
    db.session.flush()
    lead = service.get(task.lead_id)
    detail = {"task_id": task.id, "kind": task.kind, "what": what}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="task_changed", detail=detail)
    audit.record("task.edit", object_type="lead", object_id=lead.id, detail=detail)


@dataclass(frozen=True, kw_only=True)
class ManyDone:
    """The outcome of an act on several tasks. `act`: undoes it."""

    done: int
    skipped: int
    act: StaffAct


def change_many(
    *, task_ids: Collection[int], do: str, owner_id: int | None = None, until: str = ""
) -> ManyDone:
    """Finish, assign or snooze several tasks, each on its own: those that cannot be changed are skipped.

    Raises Invalid for an unknown action or owner, or with no task or too many.
    """
    if do not in ("done", "assign", "snooze"):
        raise Invalid({"do": ["Choose what to do with the tasks."]})
    if not 0 < len(task_ids) <= MOST:
        raise Invalid({"pick": [f"Select at least one task, {MOST} at most."]})
    done = 0
    with acts.begin(MANY) as act:
        for task_id in sorted(task_ids):
            try:
                _change(task_id, do=do, owner_id=owner_id, until=until)
                done += 1
            except (Conflict, NotFound):
                continue
    return ManyDone(done=done, skipped=len(task_ids) - done, act=act)


def _change(task_id: int, *, do: str, owner_id: int | None, until: str) -> None:
    if do == "done":
        service.finish_task(task_id=task_id)
    elif do == "assign":
        assign(task_id=task_id, owner_id=owner_id)
    else:
        snooze(task_id=task_id, until=until)


def undo_many(act_id: int) -> None:
    """Undo an act on several tasks. Raises NotFound, Conflict."""
    undone = acts.undo(act_id, kinds=(MANY,))
    ids = {change.row_key["id"] for change in undone.changes if change.table_name == "task"}
    for lead in _leads_of(sorted(ids)):
        contacts.record_activity(
            contact_id=lead.contact_id, lead_id=lead.id, kind="act_undone", detail={"what": undone.kind}
        )


def _leads_of(task_ids: Sequence[int]) -> Sequence[Lead]:
    of_tasks = select(Task.lead_id).where(Task.id.in_(task_ids))
    return db.session.scalars(select(Lead).where(Lead.id.in_(of_tasks)).order_by(Lead.id)).all()
