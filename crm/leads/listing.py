"""The list of leads as staff filter it: a bounded select, with cursors both ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Select, cast, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute

from crm import clock, paging
from crm.db import db
from crm.leads import queries
from crm.leads.models import Lead, Task

PAGE = 50
MATCHES = 200  # people a search word may stand for
Key = tuple[InstrumentedAttribute[Any], InstrumentedAttribute[int]]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the list shows. `owner`: an id, or 0 for nobody's. `state`: open, overdue or ended."""

    q: str = ""
    kind: str = ""
    stage: str = ""
    owner: int | None = None
    state: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One page, newest first, and the cursors of the pages beside it."""

    rows: Sequence[Lead]
    older: str | None
    newer: str | None


def page(wanted: Wanted, *, older: str | None = None, newer: str | None = None, limit: int = PAGE) -> Shown:
    """Return the leads `older` or `newer` than a cursor, else the newest. Overdue ones go by when they were due."""
    key = _key(wanted)
    rows = _filtered(wanted)
    if newer:
        rows = rows.where(tuple_(*key) > tuple_(*paging.decode(newer, (datetime, int))))
        rows = rows.order_by(*key)
    else:
        if older:
            rows = rows.where(tuple_(*key) < tuple_(*paging.decode(older, (datetime, int))))
        rows = rows.order_by(*(column.desc() for column in key))
    found = list(db.session.scalars(rows.limit(limit + 1)).all())
    more, found = len(found) > limit, found[:limit]
    if newer:
        found.reverse()
    goes_on, came_from = (bool(newer) or more), (more if newer else bool(older))
    return Shown(
        rows=found,
        older=_cursor(found[-1], key) if found and goes_on else None,
        newer=_cursor(found[0], key) if found and came_from else None,
    )


def ids(wanted: Wanted, *, limit: int) -> Sequence[int]:
    """Return the ids of the newest leads that match, at most `limit`."""
    newest = (column.desc() for column in _key(wanted))
    rows = _filtered(wanted).with_only_columns(Lead.id).order_by(*newest)
    return db.session.scalars(rows.limit(limit)).all()


def _key(wanted: Wanted) -> Key:
    # what is overdue is a stretch of the index by due times: in any other order all of it would have to be sorted
    return (Lead.due_at if wanted.state == "overdue" else Lead.created_at, Lead.id)


def _cursor(lead: Lead, key: Key) -> str:
    return paging.encode(*(getattr(lead, column.key) for column in key))


def _of_people(ids: Sequence[int]) -> Select[Any]:
    """Select the ids of the leads of these people, a bounded number of each, person by person."""
    people = (
        func.unnest(cast(list(ids), ARRAY(BigInteger))).table_valued("id", name="people").render_derived()
    )
    theirs = select(Lead.id).where(Lead.contact_id == people.c.id).order_by(Lead.id.desc()).limit(PAGE)
    each = theirs.lateral("theirs")
    return select(each.c.id).select_from(people.join(each, true()))


def _filtered(wanted: Wanted) -> Select[Any]:
    rows = select(Lead)
    if wanted.q:
        people = [person.id for person in queries.search(wanted.q, limit=MATCHES)]
        rows = rows.where(Lead.id.in_(_of_people(people)))
    for column, value in ((Lead.kind, wanted.kind), (Lead.stage, wanted.stage), (Lead.source, wanted.source)):
        if value:
            rows = rows.where(column == value)
    if wanted.owner is not None:
        rows = rows.where(Lead.owner_id == wanted.owner if wanted.owner else Lead.owner_id.is_(None))
    if wanted.state == "open":
        rows = rows.where(Lead.closed_at.is_(None))
    elif wanted.state == "ended":
        rows = rows.where(Lead.closed_at.is_not(None))
    elif wanted.state == "overdue":
        rows = rows.where(Lead.closed_at.is_(None), Lead.due_at < clock.now())
    return rows


def others_of(lead: Lead) -> Sequence[Lead]:
    """Return the same person's other leads, newest first."""
    rows = select(Lead).where(Lead.contact_id == lead.contact_id, Lead.id != lead.id)
    return db.session.scalars(rows.order_by(Lead.id.desc()).limit(20)).all()


def tasks_of(lead: Lead) -> Sequence[Task]:
    """Return what is to be done for a lead: open first, then by time."""
    rows = select(Task).where(Task.lead_id == lead.id)
    return db.session.scalars(rows.order_by(Task.done_at.is_not(None), Task.due_at).limit(50)).all()
