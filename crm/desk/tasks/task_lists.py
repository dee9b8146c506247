"""Task lists: open tasks by person, day and priority, in the order of their due times, each over an index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, Select, and_, select, tuple_, union_all

from crm.core import clock, current, paging
from crm.core.db import db
from crm.core.errors import Invalid
from crm.core.paging import Page
from crm.leads import index_scan
from crm.leads.models import Lead, Task
from crm.leads.queries import CRISIS, leads_in_crisis
from crm.staff.models import User

PAGE = 50
NOBODY = 0
DAYS: Mapping[str, str] = {
    "overdue": "Overdue",
    "today": "Today",
    "tomorrow": "Tomorrow",
    "week": "Next 7 days",
}


@dataclass(frozen=True, kw_only=True)
class OpenTask:
    """An open task with its lead and owner."""

    task: Task
    lead: Lead
    owner: str | None


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """Which open tasks. `who`: of this staff member, NOBODY, or (None) of all; `day`: of DAYS, or a date."""

    who: int | None = None
    day: str = ""
    priority: str = ""


def load_tasks(wanted: TaskFilter, *, cursor: str | None = None, limit: int = PAGE) -> Page[OpenTask]:
    """Return open tasks, the most urgent first. Raises Invalid.

    The first page begins with the tasks of the crises that nobody has taken, also those of others.
    """
    after = paging.decode(cursor, (datetime, int)) if cursor else None
    found = _load(Task.id.in_(_ids(wanted, limit=limit + 1, after=after)))
    last = found[limit - 1].task if len(found) > limit else None
    first = [] if cursor else _crisis_tasks()
    known = {item.task.id for item in first}
    return Page(
        rows=[*first, *(item for item in found[:limit] if item.task.id not in known)],
        next=paging.encode(last.due_at, last.id) if last else None,
    )


def _ids(wanted: TaskFilter, *, limit: int, after: index_scan.Key | None) -> Select[int]:
    conditions = [*_due(wanted.day), *([Task.priority == wanted.priority] if wanted.priority else [])]
    if wanted.who is None:
        return _urgent(select(Task.id).where(*conditions), limit, after)
    if wanted.who == NOBODY:
        return _urgent(select(Task.id).where(Task.owner_id.is_(None), *conditions), limit, after)
    return tasks_of(wanted.who, *conditions, limit=limit, after=after)


def _due(day: str) -> list[ColumnElement[bool]]:
    if not day:
        return []
    now, today = clock.now(), clock.today()
    if day == "overdue":
        return [Task.due_at < now]
    spans = {"today": (0, 1), "tomorrow": (1, 2), "week": (0, 7)}
    if day in spans:
        first, last = (today + timedelta(days=number) for number in spans[day])
    else:
        try:
            first = date.fromisoformat(day)
            last = first + timedelta(days=1)
        except (ValueError, OverflowError) as error:
            raise Invalid({"day": ["Enter a day."]}) from error
    return [Task.due_at >= _midnight(first), Task.due_at < _midnight(last)]


def _midnight(day: date) -> datetime:
    try:
        return datetime.combine(day, time(), current.calendar().zone).astimezone(UTC)
    except OverflowError as error:
        raise Invalid({"day": ["Enter a day."]}) from error


def tasks_of(
    who: int, *conditions: ColumnElement[bool], limit: int, after: index_scan.Key | None = None
) -> Select[int]:
    """Select the ids of the most urgent open tasks of a staff member, and unassigned ones on their leads."""
    theirs = select(Lead.id).where(Lead.id == Task.lead_id, Lead.owner_id == who).correlate(Task).exists()
    ways = ((Task.owner_id == who,), (Task.owner_id.is_(None), theirs))
    parts = (
        _urgent(select(Task.id, Task.due_at).where(*way, *conditions), limit, after).subquery()
        for way in ways
    )
    both = union_all(*(select(part) for part in parts)).subquery()
    return select(both.c.id).order_by(both.c.due_at, both.c.id).limit(limit)


def _urgent(tasks: index_scan.Rows, limit: int, after: index_scan.Key | None) -> index_scan.Rows:
    key = (Task.due_at, Task.id)
    tasks = tasks.where(Task.done_at.is_(None))
    if after:
        tasks = tasks.where(tuple_(*key) > tuple_(*after))
    return tasks.order_by(*key).limit(limit)


def _load(which: ColumnElement[bool]) -> list[OpenTask]:
    rows = (
        select(Task, Lead, User.name)
        .join(Lead, Lead.id == Task.lead_id)
        .outerjoin(User, User.id == Task.owner_id)
        .where(which)
    )
    found = db.session.execute(rows.order_by(Task.due_at, Task.id))
    return [OpenTask(task=task, lead=lead, owner=owner) for task, lead, owner in found]


def _crisis_tasks() -> list[OpenTask]:
    ids = [lead.id for lead in leads_in_crisis()]
    return _load(and_(Task.lead_id.in_(ids), Task.kind == CRISIS, Task.done_at.is_(None))) if ids else []


def by_day(items: Sequence[OpenTask]) -> list[tuple[date | None, list[OpenTask]]]:
    """Return tasks grouped by their day in clinic time, in their order; None: what is overdue, crises included."""
    now, zone = clock.now(), current.calendar().zone
    groups: list[tuple[date | None, list[OpenTask]]] = []
    for item in items:
        is_first = item.task.due_at < now or item.task.kind == CRISIS
        day = None if is_first else item.task.due_at.astimezone(zone).date()
        if not groups or groups[-1][0] != day:
            groups.append((day, []))
        groups[-1][1].append(item)
    return groups
