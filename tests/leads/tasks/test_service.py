"""Task work: edit, assign, snooze, repeat, many at once, and their undo."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from crm.audit import acts
from crm.audit.models import AuditEntry
from crm.core import current
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.leads import crisis, service
from crm.leads.models import Task
from crm.leads.tasks import service as tasks
from crm.leads.tasks.service import TaskForm
from tests.leads.test_service import NOW, lead, lines, referral  # noqa: F401 - fixtures
from tests.support.browser_client import member

DAY = timedelta(days=1)


@pytest.fixture
def task(lead):  # noqa: F811
    return service.add_task(lead_id=lead.id, kind="other", title="Ask for records", due_at=NOW + DAY)


def form(**values) -> TaskForm:
    return TaskForm(**{"title": "Ask again", "due_at": NOW + 2 * DAY, **values})


def test_edit_and_undo(task, lead):  # noqa: F811
    owner = member("front_desk")
    with acts.begin("task", lead_id=lead.id) as act:
        tasks.edit(
            task_id=task.id,
            form=form(owner_id=owner.id, priority="high", repeats="week"),
            version=task.version,
        )
    assert (task.title, task.owner_id, task.priority, task.repeats) == ("Ask again", owner.id, "high", "week")
    assert lines("task_changed")[0].detail["what"] == "edited"
    assert db.session.scalar(select(AuditEntry).where(AuditEntry.action == "task.edit")).object_id == lead.id
    service.undo_act(act.id, lead_id=lead.id)
    assert (task.title, task.owner_id, task.priority, task.repeats) == (
        "Ask for records",
        None,
        "normal",
        None,
    )


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"title": " "}, "title"),
        ({"due_at": NOW - DAY}, "due_at"),
        ({"due_at": NOW + 400 * DAY}, "due_at"),
        ({"owner_id": 999}, "task_owner"),
        ({"priority": "x"}, "priority"),
        ({"repeats": "x"}, "repeats"),
    ],
)
def test_edit_refuses(task, values, field):
    with pytest.raises(Invalid) as error:
        tasks.edit(task_id=task.id, form=form(**values), version=task.version)
    assert list(error.value.fields) == [field]


def test_a_new_time_is_in_opening_hours(task):
    sunday = datetime(2026, 3, 8, 11, tzinfo=UTC)  # 4:00 in Los Angeles
    edited = tasks.edit(task_id=task.id, form=form(due_at=sunday), version=task.version)
    assert edited.due_at == current.calendar().next_open(sunday) != sunday


def test_overdue_task_keeps_its_time(task, clock):
    due = task.due_at
    clock.shift(3 * 86_400)
    assert tasks.edit(task_id=task.id, form=form(due_at=due), version=task.version).due_at == due


def test_only_tasks_of_staff_repeat(referral):  # noqa: F811
    call = db.session.scalars(select(Task).where(Task.lead_id == referral.id)).one()
    with pytest.raises(Invalid):
        tasks.edit(task_id=call.id, form=form(repeats="day"), version=call.version)


def test_repeats_until_the_lead_is_closed(task, lead):  # noqa: F811
    task.repeats, task.priority = "day", "high"
    service.finish_task(task_id=task.id)
    again = db.session.scalars(select(Task).where(Task.done_at.is_(None))).one()
    assert (again.title, again.priority, again.repeats) == (task.title, "high", "day")
    assert again.due_at == task.due_at + DAY
    service.move_stage(lead_id=lead.id, version=lead.version, to="lost", reason="cost")
    service.finish_task(task_id=again.id)
    assert db.session.scalars(select(Task).where(Task.done_at.is_(None))).all() == []


def test_snooze(task):
    assert tasks.snooze(task_id=task.id, until="hour").due_at == NOW + timedelta(hours=1)
    with pytest.raises(Invalid):
        tasks.snooze(task_id=task.id, until="never")
    service.finish_task(task_id=task.id)
    for late in (
        lambda: tasks.snooze(task_id=task.id, until="hour"),
        lambda: tasks.assign(task_id=task.id, owner_id=None),
        lambda: tasks.edit(task_id=task.id, form=form(), version=task.version),
    ):
        with pytest.raises(Conflict):
            late()
    with pytest.raises(NotFound):
        tasks.get(0)


def test_crisis_is_not_put_off(lead):  # noqa: F811
    crisis.alert_if_crisis("I want to kill myself", lead_id=lead.id, reference=lead.reference)
    task = db.session.scalars(select(Task).where(Task.kind == "crisis")).one()
    for refused in (
        lambda: tasks.snooze(task_id=task.id, until="hour"),
        lambda: tasks.edit(task_id=task.id, form=form(), version=task.version),
    ):
        with pytest.raises(Conflict):
            refused()


def test_many(lead, referral, task):  # noqa: F811
    other = service.add_task(lead_id=referral.id, kind="other", title="Ask", due_at=NOW + DAY)
    owner = member("front_desk")
    ids = {task.id, other.id}
    done = tasks.change_many(task_ids=ids | {10**9}, do="assign", owner_id=owner.id)
    assert (done.done, done.skipped, task.owner_id, other.owner_id) == (2, 1, owner.id, owner.id)
    tasks.undo_many(done.act.id)
    assert (task.owner_id, other.owner_id) == (None, None)
    assert {line.lead_id for line in lines("act_undone")} == {lead.id, referral.id}
    assert tasks.change_many(task_ids=ids, do="snooze", until="week").done == 2
    done = tasks.change_many(task_ids=ids, do="done")
    assert None not in (task.done_at, other.done_at)
    assert tasks.change_many(task_ids=ids, do="done").skipped == 2
    tasks.undo_many(done.act.id)
    assert (task.done_at, other.done_at) == (None, None)


@pytest.mark.parametrize(
    "given", [{"task_ids": set(), "do": "done"}, {"task_ids": {1}, "do": "x"}, {"task_ids": set(range(101)), "do": "done"}]
)  # fmt: skip
def test_many_refuses(edge, given):
    with pytest.raises(Invalid):
        tasks.change_many(**given)


def test_many_refuses_an_unknown_owner(task):
    with pytest.raises(Invalid):
        tasks.change_many(task_ids={task.id}, do="assign", owner_id=999)


def test_edit_of_an_older_form_is_refused(task, lead):  # noqa: F811
    seen = task.version
    tasks.edit(task_id=task.id, form=form(title="Newer"), version=seen)
    db.session.flush()
    with pytest.raises(tasks.Changed):
        tasks.edit(task_id=task.id, form=form(title="Older form"), version=seen)
    with acts.begin("task", lead_id=lead.id) as act:
        tasks.snooze(task_id=task.id, until="tomorrow")
    snoozed = task.version
    service.undo_act(act.id, lead_id=lead.id)
    with pytest.raises(tasks.Changed):
        tasks.edit(task_id=task.id, form=form(), version=snoozed)  # made before the undo
    assert task.title == "Newer"
