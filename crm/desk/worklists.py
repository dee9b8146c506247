"""Work lists of the front desk, each a bounded select over an index."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, not_, or_, select, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute

from crm.consultations import queries as consultations
from crm.consultations.models import Consultation
from crm.contacts.models import Contact
from crm.core import clock, paging
from crm.core.db import db
from crm.core.paging import Page
from crm.desk.tasks import task_lists
from crm.leads import index_scan
from crm.leads.models import Lead, Task
from crm.leads.queries import crisis_first
from crm.leads.rules import CONTACT_REQUEST, PAUSED, REFERRAL, UNTOUCHED

PAGE = 50
COUNTED = 100  # rows read for a count; above that it shows "99+"
MOST_PAST = 500  # past consultations that the list without an outcome is made of
STALE_AFTER = timedelta(days=14)
BETWEEN_ATTEMPTS = timedelta(hours=3)
CALLING_HOURS = (8, 21)  # local time of the person: 47 CFR 64.1200(c)(1)
TO_CALL = (
    "new", "unconfirmed", "confirmed", "contacted", "qualified",
    "received", "in_review", "accepted", "contacting", "no_show", "cancelled", "rescheduled",
)  # fmt: skip

Conditions = Callable[[Any, datetime, int], Sequence[ColumnElement[bool]]]


@dataclass(frozen=True, kw_only=True)
class WorkList:
    """One list: its conditions (from a lead's columns, now and the user's id) and its order, earliest first.

    `scanned`: no index starts with the conditions, so the list scans the open leads in order.
    """

    label: str
    empty: str
    conditions: Conditions
    by: InstrumentedAttribute[Any]
    scanned: bool = False


def _call_now(row: Any, now: datetime, _me: int) -> Sequence[ColumnElement[bool]]:
    local = func.timezone(Contact.time_zone, literal(now, Lead.due_at.type))
    hour = func.extract("hour", local)
    callable_now = (
        select(Contact.id)
        .where(
            Contact.id == row.contact_id,
            Contact.phone.is_not(None),
            Contact.stopped_at.is_(None),
            hour >= CALLING_HOURS[0],
            hour < CALLING_HOURS[1],
        )
        .exists()
    )
    rested = or_(row.last_attempt_at.is_(None), row.last_attempt_at < now - BETWEEN_ATTEMPTS)
    return (row.stage.in_(TO_CALL), rested, callable_now)


def _past_consultation(row: Any, _now: datetime, _me: int) -> Sequence[ColumnElement[bool]]:
    past = consultations.without_outcome().order_by(Consultation.starts_at).limit(MOST_PAST).subquery()
    return (row.id.in_(select(past.c.lead_id)),)


def _call_ranks(row: Any, now: datetime) -> Sequence[ColumnElement[bool]]:
    """Return the parts of "Call now" in their order; each lead belongs to the first part it meets.

    A new request is called within minutes or rarely reached, so it comes before referrals, however urgent.
    """
    return (
        and_(row.kind == CONTACT_REQUEST, row.stage.in_(sorted(UNTOUCHED))),
        row.urgent,
        row.stage == "received",
        row.by < now,
        literal(True),
    )


LISTS: Mapping[str, WorkList] = {
    "call_now": WorkList(
        label="Call now",
        empty="No one can be called at this hour.",
        conditions=_call_now,
        by=Lead.due_at,
        scanned=True,
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
CALL_RANKS = 5


def load_list(name: str, *, me: int, cursor: str | None = None, limit: int = PAGE) -> Page[Lead]:
    """Return a page of the list `name` for the user `me`. Raises KeyError, Invalid.

    The first page of every list begins with the leads in crisis that nobody has taken.
    """
    page = _load(LISTS[name], name, me=me, cursor=cursor, limit=limit)
    return page if cursor else Page(rows=crisis_first(page.rows), next=page.next)


def _load(wanted: WorkList, name: str, *, me: int, cursor: str | None, limit: int) -> Page[Lead]:
    if name == "call_now":
        return _load_call_now(wanted, me=me, cursor=cursor, limit=limit)
    after = paging.decode(cursor, (datetime, int)) if cursor else None
    found = index_scan.load_leads(_ids(wanted, me, limit=limit + 1, after=after), wanted.by, Lead.id)
    last = found[limit - 1] if len(found) > limit else None
    more = paging.encode(getattr(last, wanted.by.key), last.id) if last is not None else None
    return Page(rows=found[:limit], next=more)


def _load_call_now(wanted: WorkList, *, me: int, cursor: str | None, limit: int) -> Page[Lead]:
    """Return a page of the leads to call, by rank and then by deadline."""
    rank, *key = paging.decode(cursor, (int, datetime, int)) if cursor else (0,)
    places = {
        row.id: row.rank
        for row in db.session.execute(_ranked_ids(wanted, me, limit=limit + 1, rank=rank, after=tuple(key)))
    }
    leads = db.session.scalars(select(Lead).where(Lead.id.in_(places))).all()
    found = sorted(leads, key=lambda lead: (places[lead.id], lead.due_at, lead.id))
    last = found[limit - 1] if len(found) > limit else None
    more = paging.encode(places[last.id], last.due_at, last.id) if last is not None else None
    return Page(rows=found[:limit], next=more)


def _ranked_ids(
    wanted: WorkList, me: int, *, limit: int, rank: int, after: index_scan.Key
) -> Select[int, int]:
    """Select the ids of the first leads to call and their ranks, starting after a key within a rank."""
    now, parts = clock.now(), []
    for place in range(rank, CALL_RANKS):
        rows = index_scan.scan_open_leads(wanted.by, after=after if place == rank else None)
        ranks = _call_ranks(rows.c, now)
        earlier = [not_(one) for one in ranks[:place]]
        conditions = (ranks[place], *earlier, *wanted.conditions(rows.c, now, me))
        ids = select(rows.c.id, literal(place).label("rank"), rows.c.by).where(*conditions)
        parts.append(select(ids.order_by(rows.c.by, rows.c.id).limit(limit).subquery()))
    both = union_all(*parts).subquery()
    return select(both.c.id, both.c.rank).order_by(both.c.rank, both.c.by, both.c.id).limit(limit)


def _ids(wanted: WorkList, me: int, *, limit: int, after: index_scan.Key | None = None) -> Select[int]:
    """Select the ids of the first leads on a list."""
    now = clock.now()
    if wanted.scanned:
        rows = index_scan.scan_open_leads(wanted.by, after=after)
        return index_scan.first_ids(rows, *wanted.conditions(rows.c, now, me), limit=limit)
    ids = select(Lead.id).where(Lead.closed_at.is_(None), *wanted.conditions(Lead, now, me))
    if after:
        ids = ids.where(tuple_(wanted.by, Lead.id) > tuple_(*after))
    return ids.order_by(wanted.by, Lead.id).limit(limit)


def list_counts(*, me: int) -> dict[str, str]:
    """Return the length of each list and the user's open tasks, up to 99, in one statement."""
    branches = [_counted(name, _ids(wanted, me, limit=COUNTED)) for name, wanted in LISTS.items()]
    branches.append(_counted("tasks", task_lists.tasks_of(me, limit=COUNTED)))
    found = {row.name: int(row.rows) for row in db.session.execute(union_all(*branches))}
    return {name: f"{COUNTED - 1}+" if count >= COUNTED else str(count) for name, count in found.items()}


def _counted(name: str, rows: Select[Any]) -> Select[str, int]:
    return select(literal(name).label("name"), func.count().label("rows")).select_from(rows.subquery())


def urgent_task_count(me: int) -> int:
    """Return how many of the user's tasks are due by tomorrow or are mentions, up to 100."""
    soon = or_(Task.due_at < clock.now() + timedelta(days=1), Task.kind == "mention")
    mine = select(Task.id).where(Task.owner_id == me, Task.done_at.is_(None), soon).limit(COUNTED).subquery()
    return db.session.scalar(select(func.count()).select_from(mine)) or 0
