"""Work lists of the front desk, each a bounded select over an index."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, or_, select, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute

from crm.consultations import queries as consultations
from crm.consultations.models import Consultation
from crm.core import clock, paging
from crm.core.db import db
from crm.core.paging import Page
from crm.desk.calling import call_list
from crm.desk.tasks import task_lists
from crm.leads import index_scan
from crm.leads.models import Lead, Task
from crm.leads.queries import crisis_first
from crm.leads.rules import PAUSED, REFERRAL

PAGE = 50
COUNTED = 100  # rows read for a count; above that it shows "99+"
MOST_PAST = 500  # past consultations that the list without an outcome is made of
STALE_AFTER = timedelta(days=14)

Conditions = Callable[[Any, datetime, int], Sequence[ColumnElement[bool]]]


@dataclass(frozen=True, kw_only=True)
class WorkList:
    """One list: its conditions (from a lead's columns, now and the user's id) and its order, earliest first."""

    label: str
    empty: str
    conditions: Conditions
    by: InstrumentedAttribute[Any]


def _past_consultation(row: Any, _now: datetime, _me: int) -> Sequence[ColumnElement[bool]]:
    past = consultations.without_outcome().order_by(Consultation.starts_at).limit(MOST_PAST).subquery()
    return (row.id.in_(select(past.c.lead_id)),)


LISTS: Mapping[str, WorkList] = {
    "call_now": WorkList(
        label="Call now",
        empty="No one can be called at this hour.",
        conditions=lambda _row, _now, _me: (),  # crm.desk.calling.call_list has them
        by=Lead.due_at,
    ),
    "overdue": WorkList(
        label="Overdue",
        empty="Nothing is overdue.",
        conditions=lambda row, now, _me: (row.due_at < now,),
        by=Lead.due_at,
    ),
    "outcome": WorkList(
        label="Outcome missing",
        empty="Every past consultation has an outcome.",
        conditions=_past_consultation,
        by=Lead.stage_at,
    ),
    "waiting": WorkList(
        label="Waiting on referrer",
        empty="No open questions to referrers.",
        conditions=lambda row, _now, _me: (row.kind == REFERRAL, row.stage == PAUSED),
        by=Lead.stage_at,
    ),
    "stale": WorkList(
        label="Stale",
        empty="No lead has been idle for two weeks.",
        conditions=lambda row, now, _me: (row.stage_at < now - STALE_AFTER,),
        by=Lead.stage_at,
    ),
    "mine": WorkList(
        label="Mine",
        empty="You have no open leads.",
        conditions=lambda row, _now, me: (row.owner_id == me,),
        by=Lead.stage_at,
    ),
    "unassigned": WorkList(
        label="Unassigned",
        empty="Every open lead has an owner.",
        conditions=lambda row, _now, _me: (row.owner_id.is_(None),),
        by=Lead.stage_at,
    ),
}
FIRST = "call_now"


def load_list(name: str, *, me: int, cursor: str | None = None, limit: int = PAGE) -> Page[Lead]:
    """Return a page of the list `name` for the user `me`. Raises KeyError, Invalid.

    The first page of every list begins with the leads in crisis that nobody has taken.
    """
    page = _load(LISTS[name], name, me=me, cursor=cursor, limit=limit)
    return page if cursor else Page(rows=crisis_first(page.rows), next=page.next)


def _load(wanted: WorkList, name: str, *, me: int, cursor: str | None, limit: int) -> Page[Lead]:
    if name == FIRST:
        calls = call_list.load_calls(me=me, cursor=cursor, limit=limit)
        return Page(rows=[place.lead for place in calls.rows], next=calls.next)
    after = paging.decode(cursor, (datetime, int)) if cursor else None
    found = index_scan.load_leads(_ids(wanted, me, limit=limit + 1, after=after), wanted.by, Lead.id)
    last = found[limit - 1] if len(found) > limit else None
    more = paging.encode(getattr(last, wanted.by.key), last.id) if last is not None else None
    return Page(rows=found[:limit], next=more)


def _ids(wanted: WorkList, me: int, *, limit: int, after: index_scan.Key | None = None) -> Select[int]:
    """Select the ids of the first leads on a list."""
    now = clock.now()
    ids = select(Lead.id).where(Lead.closed_at.is_(None), *wanted.conditions(Lead, now, me))
    if after:
        ids = ids.where(tuple_(wanted.by, Lead.id) > tuple_(*after))
    return ids.order_by(wanted.by, Lead.id).limit(limit)


def list_counts(*, me: int) -> dict[str, str]:
    """Return the length of each list and the user's open tasks, up to 99, in one statement."""
    branches = [
        _counted(name, _ids(wanted, me, limit=COUNTED)) for name, wanted in LISTS.items() if name != FIRST
    ]
    branches.append(_counted(FIRST, call_list.ranked(me, limit=COUNTED)))
    branches.append(_counted("tasks", task_lists.tasks_of(me, limit=COUNTED)))
    found = {row.name: int(row.rows) for row in db.session.execute(union_all(*branches))}
    return {name: f"{COUNTED - 1}+" if count >= COUNTED else str(count) for name, count in found.items()}


def _counted(name: str, rows: Select[*tuple[Any, ...]]) -> Select[str, int]:
    return select(literal(name).label("name"), func.count().label("rows")).select_from(rows.subquery())


def urgent_task_count(me: int) -> int:
    """Return how many of the user's tasks are due by tomorrow or are mentions, up to 100."""
    soon = or_(Task.due_at < clock.now() + timedelta(days=1), Task.kind == "mention")
    mine = select(Task.id).where(Task.owner_id == me, Task.done_at.is_(None), soon).limit(COUNTED).subquery()
    return db.session.scalar(select(func.count()).select_from(mine)) or 0
