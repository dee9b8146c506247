"""The list of leads as staff filter it: a bounded select, with cursors both ways."""

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
MATCHES = 200  # people a search word may stand for
LOOKED_AT = 4_000  # leads that one page looks at where several filters have no index in common


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
    """One page, newest first, and the cursors of the pages beside it.

    `looked_at`: how many leads were looked at where that is not all of them; the cursor goes on after these.
    """

    rows: Sequence[Lead]
    older: str | None
    newer: str | None
    looked_at: int | None = None


def page(wanted: Wanted, *, older: str | None = None, newer: str | None = None, limit: int = PAGE) -> Shown:
    """Return the leads `older` or `newer` than a cursor, else the newest. Overdue ones go by when they were due."""
    newest, cursor = not newer, newer or older
    way = _Way(wanted, newest=newest, after=paging.decode(cursor, (datetime, int)) if cursor else None)
    found = way.leads(limit + 1)
    more, found = len(found) > limit, found[:limit]
    edge = None if more else way.edge()
    cursors = [_cursor(found[0], way.by), _cursor(found[-1], way.by)] if found else ["", ""]
    ahead = cursors[1] if more else paging.encode(*edge) if edge else ""
    back = (cursors[0] or cursor) if cursor else ""
    return Shown(
        rows=found if newest else found[::-1],
        older=(ahead if newest else back) or None,
        newer=(back if newest else ahead) or None,
        looked_at=LOOKED_AT if edge else None,
    )


def ids(wanted: Wanted, *, limit: int) -> Sequence[int]:
    """Return the ids of the newest leads that match, at most `limit`."""
    return db.session.scalars(_Way(wanted, whole=True).ids(limit)).all()


def _cursor(lead: Lead, by: Column) -> str:
    return paging.encode(getattr(lead, by.key), lead.id)


class _Way:
    """How to come to the leads that are wanted: the index to go along, and what is looked at on the way."""

    def __init__(
        self, wanted: Wanted, *, newest: bool = True, after: Key | None = None, whole: bool = False
    ) -> None:
        self.wanted, self.newest, self.after = wanted, newest, after
        # what is overdue is a stretch of the index by due times: in any other order all of it would be sorted
        self.by: Column = Lead.due_at if wanted.state == "overdue" else Lead.created_at
        self.filters = _filters(wanted)
        self.nothing = (
            len({Lead.kind, Lead.stage} & self.filters.keys()) == 2
        )  # there is no such stage of this kind
        several = (
            len(self.filters) > 1
            and not self.nothing
            and not wanted.q
            and wanted.state not in ("open", "overdue")
        )
        self.stretch = self._stretch() if several and not whole else None

    def leads(self, limit: int) -> Sequence[Lead]:
        order = (column.desc() if self.newest else column for column in (self.by, Lead.id))
        return index_scan.load_leads(self.ids(limit), *order)

    def ids(self, limit: int) -> Select[int]:
        """Select the ids of the first leads that are wanted."""
        if self.nothing:
            return select(Lead.id).where(false())
        if self.stretch is not None:
            rows = self.stretch
        elif self.wanted.state in ("open", "overdue") and not self.wanted.q:
            late = (Lead.due_at < clock.now(),) if self.wanted.state == "overdue" else ()
            rows = index_scan.scan_open_leads(self.by, *late, after=self.after, newest=self.newest)
        else:
            return index_scan.order_after(self._plain(), self.by, after=self.after, newest=self.newest).limit(
                limit
            )
        return index_scan.first_ids(rows, *self._conditions(rows.c), limit=limit, newest=self.newest)

    def edge(self) -> Key | None:
        """Return the key of the last lead that was looked at where there are more; None where all were."""
        if self.stretch is None:
            return None
        rows = self.stretch.c
        order = (column if self.newest else column.desc() for column in (rows.by, rows.id))
        last = select(rows.by, rows.id, func.count().over()).order_by(*order).limit(1)
        found = db.session.execute(last).first()
        return (found[0], found[1]) if found and found[2] == LOOKED_AT else None

    def _stretch(self) -> Subquery:
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
            rows = rows.where(Lead.id.in_(_of_people(queries.matching_people(self.wanted.q, limit=MATCHES))))
        if self.wanted.state in ("open", "overdue"):
            rows = rows.where(Lead.closed_at.is_(None))
        return rows.where(Lead.due_at < clock.now()) if self.wanted.state == "overdue" else rows


def _filters(wanted: Wanted) -> dict[Column, Any]:
    """What columns must be, those that tell most first; a kind says nothing more where a stage is given."""
    given = {
        Lead.owner_id: wanted.owner,
        Lead.stage: wanted.stage or None,
        Lead.source: wanted.source or None,
        Lead.kind: wanted.kind or None,
    }
    if wanted.kind and wanted.stage in rules.STAGES.get(wanted.kind, ()):
        del given[Lead.kind]
    return {column: value for column, value in given.items() if value is not None}


def _is(column: Any, value: Any) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column.is_(None) if value == 0 else column == value
    return found


def _of_people(ids: Sequence[int] | CompoundSelect[int]) -> Select[int]:
    """Select the ids of the leads of these people, a bounded number of each, person by person."""
    if isinstance(ids, CompoundSelect):
        people: Any = ids.subquery("people")
    else:
        every = func.unnest(cast(list(ids), ARRAY(BigInteger)))
        people = every.table_valued("id", name="people").render_derived()
    theirs = select(Lead.id).where(Lead.contact_id == people.c.id).order_by(Lead.id.desc()).limit(PAGE)
    each = theirs.lateral("theirs")
    return select(each.c.id).select_from(people.join(each, true()))


def others_of(lead: Lead) -> Sequence[Lead]:
    """Return the same person's other leads, newest first."""
    rows = select(Lead).where(Lead.contact_id == lead.contact_id, Lead.id != lead.id)
    return db.session.scalars(rows.order_by(Lead.id.desc()).limit(20)).all()


def tasks_of(lead: Lead) -> Sequence[Task]:
    """Return what is to be done for a lead: open first, then by time."""
    rows = select(Task).where(Task.lead_id == lead.id)
    return db.session.scalars(rows.order_by(Task.done_at.is_not(None), Task.due_at).limit(50)).all()
