"""Task pages: by person and day, edit, many at once, undo."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.core.db import db, transaction
from crm.desk.tasks import task_lists
from crm.desk.tasks.task_lists import NOBODY, TaskFilter
from crm.leads import service
from crm.leads.models import Task
from tests.conftest import NOW
from tests.desk.test_console_work import _me, desk, new_lead  # noqa: F401 - fixture

DAY = timedelta(days=1)
LIST = "/console/leads/tasks"


def add(number, *, days=0, hours=2, **more):
    lead = new_lead(number)
    due = NOW + days * DAY + timedelta(hours=hours)
    with transaction():
        return service.add_task(lead_id=lead.id, kind="other", title=f"Do {number}", due_at=due, **more)


def titles(**wanted):
    return [item.task.title for item in task_lists.load_tasks(TaskFilter(**wanted)).rows]


def test_lists(desk, clock):  # noqa: F811
    me = _me("front_desk")
    add(1, owner_id=me)
    add(2, days=1)
    add(3, days=6, owner_id=me, priority="high")
    with transaction():
        lead = service.get(add(4, days=2).lead_id)
        service.assign(lead_id=lead.id, version=lead.version, owner_id=me)
    clock.shift(4 * 3600)
    assert titles() == ["Do 1", "Do 2", "Do 4", "Do 3"]
    assert titles(who=me) == ["Do 1", "Do 4", "Do 3"]
    assert titles(who=NOBODY) == ["Do 2", "Do 4"]
    assert titles(day="overdue") == titles(day="today") == ["Do 1"]
    assert titles(day="tomorrow") == titles(day="2026-03-04") == ["Do 2"]
    assert titles(day="week", priority="high") == ["Do 3"]
    first = task_lists.load_tasks(TaskFilter(), limit=3)
    assert [item.task.title for item in task_lists.load_tasks(TaskFilter(), cursor=first.next).rows] == [
        "Do 3"
    ]
    groups = task_lists.by_day(task_lists.load_tasks(TaskFilter()).rows)
    assert [(day and day.day, len(items)) for day, items in groups] == [(None, 1), (4, 1), (5, 1), (9, 1)]


@pytest.mark.parametrize("query", ["who=x", "day=soon", "day=9999-12-31", "priority=x", "cursor=x"])
def test_lists_refuse(desk, query):  # noqa: F811
    assert desk.get(f"{LIST}?{query}").status_code == 422


def test_page(desk):  # noqa: F811
    task = add(1)
    assert "Do 1" not in desk.get(LIST).text
    assert "Do 1" in desk.get(f"{LIST}?who=all").text
    assert desk.post(f"{LIST}/{task.id}/done").status_code == 302
    assert desk.post(f"{LIST}/{task.id}/done").status_code == 409


def test_edit(desk):  # noqa: F811
    task = add(1)
    assert "Do 1" in desk.get(f"{LIST}/{task.id}").text
    given = {
        "title": "Ask",
        "due_at": "2026-03-05T10:00",
        "priority": "high",
        "task_owner": str(_me("front_desk")),
        "version": task.version,
    }
    assert desk.post(f"{LIST}/{task.id}", given | {"due_at": "soon"}).status_code == 422
    saved = desk.post(f"{LIST}/{task.id}", given | {"back": f"{LIST}?who=all"})
    assert saved.location == f"{LIST}?who=all"
    db.session.expire_all()
    assert (task.title, task.priority, task.due_at.hour) == ("Ask", "high", 18)
    desk.post(f"{LIST}/{task.id}/snooze/tomorrow")
    db.session.expire_all()
    assert task.due_at == NOW + DAY + timedelta(hours=1)


def test_edit_shows_what_another_person_changed(desk):  # noqa: F811
    """What was typed stands in the form, which is saved when it is sent again."""
    task = add(1)
    given = {"title": "Mine", "due_at": "2026-03-05T10:00", "version": task.version}
    desk.get(f"{LIST}/{task.id}")
    desk.post(f"{LIST}/{task.id}/snooze/tomorrow")
    answer = desk.post(f"{LIST}/{task.id}", given)
    assert answer.status_code == 409
    assert "Another person changed this task" in answer.text
    assert 'value="Mine"' in answer.text
    version = re.search(r'name="version" value="(\d+)"', answer.text)[1]
    assert desk.post(f"{LIST}/{task.id}", given | {"version": version}).status_code == 302


def test_many_and_undo(desk):  # noqa: F811
    made = [add(1), add(2, days=1)]
    desk.get(LIST)
    answer = desk.post(
        f"{LIST}/many", {"pick": [str(one.id) for one in made], "do": "done", "back": f"{LIST}?who=all"}
    )
    page = desk.get(answer.location).text
    assert "2 tasks changed." in page
    open_now = select(Task.id).where(Task.done_at.is_(None))
    assert db.session.scalars(open_now).all() == []
    undo = re.search(r'action="([^"]+/undo/\d+[^"]*)"', page)[1].replace("&amp;", "&")
    assert "Undone." in desk.get(desk.post(undo).location).text
    assert len(db.session.scalars(open_now).all()) == 2
    assert desk.post(f"{LIST}/many", {"do": "done"}).status_code in (302, 422)
