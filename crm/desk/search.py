"""Lead search: the filtered list, as a bounded select with cursors in both directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Select,
    Subquery,
    cast,
    false,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from crm.core import clock, paging
from crm.core.db import db
from crm.leads import index_scan, queries, rules
from crm.leads.index_scan import Column, Key
from crm.leads.models import Lead, Task

PAGE = 50
MATCHES = 200  # people that a search text may match
LOOKED_AT = 4_000  # leads that one page reads if no index covers all filters


@dataclass(frozen=True, kw_only=True)
class LeadFilter:
    """Filters of the lead list. `owner` is an id, or 0 for unassigned; `state` is open, overdue or ended.

    `named`: the reader may see who people are, so `q` also finds names, addresses and numbers.
    """

    q: str = ""
    kind: str = ""
    stage: str = ""
    owner: int | None = None
    state: str = ""
    source: str = ""
    named: bool = True


@dataclass(frozen=True, kw_only=True)
class LeadPage:
    """One page, newest first, and the cursors of the pages before and after it.

    `looked_at` is how many leads were read, if that is not all of them; the cursor continues after these.
    """

    rows: Sequence[Lead]
    older: str | None
    newer: str | None
    looked_at: int | None = None


def find_leads(
    wanted: LeadFilter, *, older: str | None = None, newer: str | None = None, limit: int = PAGE
) -> LeadPage:
    """Return the leads `older` or `newer` than a cursor, else the newest. Overdue leads are ordered by due time."""
    if newer:
        part = _read_part(wanted, newest=False, cursor=newer, limit=limit)
        return LeadPage(
            rows=part.leads[::-1], older=part.first or newer, newer=part.ahead, looked_at=part.looked_at
        )
    part = _read_part(wanted, newest=True, cursor=older, limit=limit)
    return LeadPage(
        rows=part.leads,
        older=part.ahead,
        newer=(part.first or older) if older else None,
        looked_at=part.looked_at,
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Leads in reading direction, the cursor of the first one and the cursor of the part after these."""

    leads: Sequence[Lead]
    first: str | None
    ahead: str | None = None
    looked_at: int | None = None


def _read_part(wanted: LeadFilter, *, newest: bool, cursor: str | None, limit: int) -> _Part:
    after = paging.decode(cursor, (datetime, int)) if cursor else None
    scan = _Scan(wanted, newest=newest, after=after)
    found = scan.leads(limit + 1)
    leads = found[:limit]
    first = scan.cursor(leads[0]) if leads else None
    if len(found) > limit:
        return _Part(leads=leads, first=first, ahead=scan.cursor(leads[-1]))
    edge = scan.edge()
    if edge is None:
        return _Part(leads=leads, first=first)
    return _Part(leads=leads, first=first, ahead=paging.encode(*edge), looked_at=LOOKED_AT)


def find_lead_ids(wanted: LeadFilter, *, limit: int) -> Sequence[int]:
    """Return the ids of the newest leads that match, at most `limit`."""
    return db.session.scalars(_Scan(wanted, whole=True).ids(limit)).all()


class _Scan:
    """The scan of one index that finds the wanted leads, and the filters it applies on the way."""

    def __init__(
        self, wanted: LeadFilter, *, newest: bool = True, after: Key | None = None, whole: bool = False
    ) -> None:
        self.wanted, self.newest, self.after = wanted, newest, after
        # overdue leads are one range of the index on due_at: any other order would sort all of them
        self.by: Column = Lead.due_at if wanted.state == "overdue" else Lead.created_at
        self.filters = _filters(wanted)
        # a kind and a stage remain only if the kind does not have the stage
        other_stage = len({Lead.kind, Lead.stage} & self.filters.keys()) == 2
        self.nothing = other_stage or wanted.kind not in ("", *rules.KINDS)
        several = (
            len(self.filters) > 1
            and not self.nothing
            and not wanted.q
            and wanted.state not in ("open", "overdue")
        )
        self.part = self._first_part() if several and not whole else None

    def cursor(self, lead: Lead) -> str:
        """Return the cursor that continues after a lead."""
        return paging.encode(getattr(lead, self.by.key), lead.id)

    def leads(self, limit: int) -> Sequence[Lead]:
        """Return the first wanted leads, in reading direction."""
        order = (column.desc() if self.newest else column for column in (self.by, Lead.id))
        return index_scan.load_leads(self.ids(limit), *order)

    def ids(self, limit: int) -> Select[int]:
        """Select the ids of the first wanted leads."""
        if self.nothing:
            return select(Lead.id).where(false())
        if self.part is not None:
            rows = self.part
        elif self.wanted.state in ("open", "overdue") and not self.wanted.q:
            late = (Lead.due_at < clock.now(),) if self.wanted.state == "overdue" else ()
            rows = index_scan.scan_open_leads(self.by, *late, after=self.after, newest=self.newest)
        else:
            return index_scan.order_after(self._plain(), self.by, after=self.after, newest=self.newest).limit(
                limit
            )
        return index_scan.first_ids(rows, *self._conditions(rows.c), limit=limit, newest=self.newest)

    def edge(self) -> Key | None:
        """Return the key of the last lead read if there are more, else None."""
        if self.part is None:
            return None
        rows = self.part.c
        order = (column if self.newest else column.desc() for column in (rows.by, rows.id))
        last = select(rows.by, rows.id, func.count().over()).order_by(*order).limit(1)
        found = db.session.execute(last).first()
        return (found[0], found[1]) if found and found[2] == LOOKED_AT else None

    def _first_part(self) -> Subquery:
        column, value = next((c, v) for c, v in self.filters.items() if (c, v) != (Lead.owner_id, 0))
        return index_scan.scan_leads(
            _is(column, value), limit=LOOKED_AT, after=self.after, newest=self.newest
        )

    def _conditions(self, row: Any) -> list[ColumnElement[bool]]:
        ended = [row.closed_at.is_not(None)] if self.wanted.state == "ended" else []
        return [*(_is(getattr(row, column.key), value) for column, value in self.filters.items()), *ended]

    def _plain(self) -> Select[Any]:
        rows = select(Lead.id).where(*self._conditions(Lead))
        if self.wanted.q:
            found = queries.matching_people(self.wanted.q, limit=MATCHES, named=self.wanted.named)
            rows = rows.where(Lead.id.in_(_of_people(found)))
        if self.wanted.state in ("open", "overdue"):
            rows = rows.where(Lead.closed_at.is_(None))
        return rows.where(Lead.due_at < clock.now()) if self.wanted.state == "overdue" else rows


def _filters(wanted: LeadFilter) -> dict[Column, Any]:
    """Return column -> required value, most selective first; a stage already implies its kind."""
    given = {
        Lead.owner_id: wanted.owner,
        Lead.stage: wanted.stage or None,
        Lead.source: wanted.source or None,
        Lead.kind: wanted.kind if wanted.kind in rules.KINDS else None,
    }
    if wanted.kind and wanted.stage in rules.STAGES.get(wanted.kind, ()):
        del given[Lead.kind]
    return {column: value for column, value in given.items() if value is not None}


def _is(column: Any, value: Any) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column.is_(None) if value == 0 else column == value
    return found


def _of_people(ids: Sequence[int] | CompoundSelect[int]) -> Select[int]:
    """Select the ids of the leads of these people, a bounded number for each."""
    if isinstance(ids, CompoundSelect):
        people: Any = ids.subquery("people")
    else:
        every = func.unnest(cast(list(ids), ARRAY(BigInteger)))
        people = every.table_valued("id", name="people").render_derived()
    theirs = select(Lead.id).where(Lead.contact_id == people.c.id).order_by(Lead.id.desc()).limit(PAGE)
    each = theirs.lateral("theirs")
    return select(each.c.id).select_from(people.join(each, true()))


def other_leads(lead: Lead) -> Sequence[Lead]:
    """Return the same person's other leads, newest first."""
    rows = select(Lead).where(Lead.contact_id == lead.contact_id, Lead.id != lead.id)
    return db.session.scalars(rows.order_by(Lead.id.desc()).limit(20)).all()


def tasks_of(lead: Lead) -> Sequence[Task]:
    """Return the tasks of a lead, open ones first, then by due time."""
    rows = select(Task).where(Task.lead_id == lead.id)
    return db.session.scalars(rows.order_by(Task.done_at.is_not(None), Task.due_at).limit(50)).all()
