"""The calling list: who can be called now, in which order, and why each lead stands where it stands.

Calls that were promised for a time come first, then requests nobody has answered (a new one is called within minutes or
rarely reached), then referrals, urgent ones before the rest, then what is overdue. Leads that another staff member is
calling are left out. Each rank is a range of one index, of which a bounded part is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    union_all,
)

from crm.contacts.models import Contact
from crm.core import clock, paging
from crm.core.db import db
from crm.core.errors import Invalid
from crm.core.paging import Page
from crm.desk.models import CallClaim
from crm.leads import index_scan
from crm.leads.models import CALL_RANK, CALLABLE, Lead, Task
from crm.leads.stage_work import CALLBACK

PAGE = 50
BETWEEN_ATTEMPTS = timedelta(hours=3)
CALLING_HOURS = (8, 21)  # local time of the person: 47 CFR 64.1200(c)(1)
LOOKED_AT = 500  # leads that each rank reads, however many cannot be called at this hour


class Rank(IntEnum):
    """Why a lead is called before others. Each lead has the first rank it meets."""

    CALLBACK = 0
    NEW_REQUEST = 1
    URGENT = 2
    NEW_REFERRAL = 3
    OVERDUE = 4
    DUE = 5


@dataclass(frozen=True, kw_only=True)
class CallPlace:
    """A lead in the calling list. `at`: when it was promised, or is due."""

    lead: Lead
    rank: Rank
    at: datetime


def _conditions(row: Any, now: datetime, me: int) -> Sequence[ColumnElement[bool]]:
    """Return what holds for a lead that can be called now, and was not promised a call for a time."""
    rested = or_(row.last_attempt_at.is_(None), row.last_attempt_at < now - BETWEEN_ATTEMPTS)
    promised = select(Task.lead_id).where(Task.kind == CALLBACK, Task.done_at.is_(None))
    return (rested, row.id.not_in(promised), *_reachable(row, now, me))


def _reachable(row: Any, now: datetime, me: int) -> Sequence[ColumnElement[bool]]:
    hour = func.extract("hour", func.timezone(Contact.time_zone, literal(now, Lead.due_at.type)))
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
    theirs = select(CallClaim.lead_id).where(CallClaim.until > now, CallClaim.user_id != me)
    return (callable_now, row.id.not_in(theirs))


def load_calls(*, me: int, cursor: str | None = None, limit: int = PAGE) -> Page[CallPlace]:
    """Return a page of the leads that `me` can call now. Raises Invalid."""
    rank, *key = paging.decode(cursor, (int, datetime, int)) if cursor else (0,)
    if rank not in set(Rank):
        raise Invalid({"cursor": ["This page marker is not valid. Start from the first page."]})
    rows = db.session.execute(ranked(me, limit=limit + 1, rank=rank, after=tuple(key))).all()
    leads = {
        lead.id: lead
        for lead in db.session.scalars(select(Lead).where(Lead.id.in_([row.id for row in rows])))
    }
    found = [CallPlace(lead=leads[row.id], rank=Rank(row.rank), at=row.by) for row in rows]
    last = found[limit - 1] if len(found) > limit else None
    more = paging.encode(int(last.rank), last.at, last.lead.id) if last is not None else None
    return Page(rows=found[:limit], next=more)


def ranked(me: int, *, limit: int, rank: int = 0, after: index_scan.Key = ()) -> Select[int, int, datetime]:
    """Select id, rank and time of the first leads to call, starting after a key within a rank."""
    now = clock.now()
    parts = [
        select(part.subquery())
        for part in (
            _part(Rank(place), now, me, limit=limit, after=after if place == rank else None)
            for place in range(rank, len(Rank))
        )
    ]
    both = union_all(*parts).subquery()
    rows = select(both.c.id, both.c.rank, both.c.by)
    return rows.order_by(both.c.rank, both.c.by, both.c.id).limit(limit)


def _part(
    rank: Rank, now: datetime, me: int, *, limit: int, after: index_scan.Key | None
) -> Select[Any, int, datetime]:
    if rank is Rank.CALLBACK:
        return promised_calls(me, limit=limit, after=after)
    scan = _scan(rank, now, after=after)
    ids = select(scan.c.id, literal(int(rank)).label("rank"), scan.c.by)
    ids = ids.where(*_conditions(scan.c, now, me))
    return ids.order_by(scan.c.by, scan.c.id).limit(limit)


def _scan(rank: Rank, now: datetime, *, after: index_scan.Key | None) -> Subquery:
    """Return the first leads of one rank: one range of one index, whose condition and order these are literally."""
    place = min(rank, Rank.OVERDUE)
    rows = select(Lead.id, Lead.contact_id, Lead.last_attempt_at, Lead.due_at.label("by"))
    rows = rows.where(text(CALLABLE), literal_column(f"({CALL_RANK})") == int(place))
    if rank is Rank.OVERDUE:
        rows = rows.where(Lead.due_at < now)
    elif rank is Rank.DUE:
        rows = rows.where(Lead.due_at >= now)
    return (
        index_scan.order_after(rows, Lead.due_at, after=after, newest=False).limit(LOOKED_AT).subquery("scan")
    )


def promised_calls(me: int, *, limit: int, after: index_scan.Key | None = None) -> Select[int, int, datetime]:
    """Select id, rank and time of the leads that were promised a call for a time that has come."""
    now, key = clock.now(), (Task.due_at, Task.lead_id)
    rows = (
        select(Lead.id, literal(int(Rank.CALLBACK)).label("rank"), Task.due_at.label("by"))
        .join(Task, Task.lead_id == Lead.id)
        .where(Task.kind == CALLBACK, Task.done_at.is_(None), Task.due_at <= now)
        .where(Lead.closed_at.is_(None), *_reachable(Lead, now, me))
    )
    if after:
        rows = rows.where(tuple_(*key) > tuple_(*after))
    return rows.order_by(*key).limit(limit)
