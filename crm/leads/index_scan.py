"""Index scan: leads in the order of an index that also includes the columns they are filtered by.

The planner estimates badly how many leads match a set of filters (it does not know that a stage implies "open"), and an
estimate of few makes it fetch and sort all of them. Here it must scan the index until the page is full.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Subquery, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from crm.core.db import db
from crm.leads.models import Lead

Column = InstrumentedAttribute[Any]
Key = tuple[Any, ...]
Rows = TypeVar("Rows", bound=Select[*tuple[Any, ...]])

INCLUDED_COLUMNS = (Lead.id, Lead.kind, Lead.stage, Lead.source, Lead.owner_id)
CALL_COLUMNS = (Lead.contact_id, Lead.last_attempt_at, Lead.urgent)  # also included in the index on due_at


def scan_open_leads(
    by: Column, *inside: ColumnElement[bool], after: Key | None = None, newest: bool = False
) -> Subquery:
    """Return the open leads in the order of `by` (created_at, stage_at or due_at), as rows to filter.

    `inside` limits the range of the index; `after` is the key of the last lead seen; `newest` reverses the order.
    """
    held = (*INCLUDED_COLUMNS, *(CALL_COLUMNS if by.key == "due_at" else ()))
    rows = select(*held, by.label("by")).where(Lead.closed_at.is_(None), *inside)
    if by.key == "due_at":
        rows = rows.where(Lead.due_at.is_not(None))
    return (
        order_after(rows, by, after=after, newest=newest).offset(0).subquery("scan")
    )  # offset 0 keeps the filters outside


def scan_leads(
    of: ColumnElement[bool], *, limit: int, after: Key | None = None, newest: bool = True
) -> Subquery:
    """Return the first `limit` leads for which `of` holds, closed ones included, by creation time."""
    rows = select(*INCLUDED_COLUMNS, Lead.closed_at, Lead.created_at.label("by")).where(of)
    return order_after(rows, Lead.created_at, after=after, newest=newest).limit(limit).subquery("scan")


def order_after(rows: Rows, by: Column, *, after: Key | None, newest: bool) -> Rows:
    """Order rows by `by` and id, starting after the key `after`."""
    key = (by, Lead.id)
    if after:
        rows = rows.where(tuple_(*key) < tuple_(*after) if newest else tuple_(*key) > tuple_(*after))
    return rows.order_by(*(column.desc() if newest else column for column in key))


def first_ids(
    scan: Subquery, *conditions: ColumnElement[bool], limit: int, newest: bool = False
) -> Select[int]:
    """Select the ids of the first `limit` leads of a scan that meet the conditions."""
    order = (column.desc() if newest else column for column in (scan.c.by, scan.c.id))
    return select(scan.c.id).where(*conditions).order_by(*order).limit(limit)


def load_leads(ids: Select[int], *order: Any) -> Sequence[Lead]:
    """Return the leads that `ids` selects, in this order; people and owners are loaded for these only."""
    return db.session.scalars(select(Lead).where(Lead.id.in_(ids)).order_by(*order)).all()
