"""Lead board: open leads in one column per stage, a crisis first, then longest waiting."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, literal, select, tuple_, union_all

from crm.core import paging
from crm.core.db import db
from crm.desk.bulk.actions import VISIT_STAGES
from crm.leads.index_scan import Key
from crm.leads.models import Lead
from crm.leads.queries import crisis_first, leads_in_crisis
from crm.leads.rules import STAGES

NOT_BY_STAFF = frozenset({"new", "unconfirmed", "confirmed", "spam"})  # set by confirmations or filters
SHOWN = 20  # cards in a column
COUNTED = 100  # rows read for a count; above that it shows "99+"


@dataclass(frozen=True, kw_only=True)
class BoardColumn:
    """One stage: its first leads, their number up to 99, and the cursor of the next ones."""

    stage: str
    leads: Sequence[Lead]
    count: str
    next: str | None


def board_stages(kind: str) -> list[str]:
    """Return the open stages of a kind, in the order of the stage table."""
    return [stage for stage, one in STAGES[kind].items() if not one.ends]


def drop_targets(lead: Lead) -> list[str]:
    """Return the stages a card can be moved to: allowed next, and needing no reason, no visit and no system event."""
    stages = STAGES[lead.kind]
    return [
        to
        for to, one in stages.items()
        if to in stages[lead.stage].to
        and not (one.reasons or one.needs_outcome)
        and to not in VISIT_STAGES | NOT_BY_STAFF
    ]


def load_board(
    kind: str, *, owner: int | None = None, stage: str = "", cursor: str | None = None
) -> list[BoardColumn]:
    """Return the columns. `owner` limits them to one person's leads; the column `stage` starts after `cursor`.

    Uses two statements; each reads a bounded part of an index for every column. Raises Invalid for a bad cursor.
    """
    after = paging.decode(cursor, (datetime, int)) if cursor else None
    stages = board_stages(kind)
    parts: list[Select[*tuple[Any, ...]]] = []
    for place, name in enumerate(stages):
        rows = _open_leads(kind, name, owner)
        parts += _column_parts(rows, place=place, after=after if name == stage else None)
    found = db.session.execute(union_all(*parts)).all()
    counts = {row.place: row.many for row in found if not row.id}
    leads = _load([row.id for row in found if row.id])
    crises = _crises(kind, but=stage if after else None)
    return [_column(name, leads[name], counts[place], crises) for place, name in enumerate(stages)]


def _crises(kind: str, *, but: str | None) -> list[Lead]:
    """Return the leads in crisis of a kind, without those of a column whose first page is not shown."""
    return [lead for lead in leads_in_crisis() if lead.kind == kind and lead.stage != but]


_WAITING_LONGEST = (Lead.stage_at, Lead.id)


def _open_leads(kind: str, stage: str, owner: int | None) -> Select[int]:
    rows = select(Lead.id).where(Lead.kind == kind, Lead.stage == stage, Lead.closed_at.is_(None))
    if owner is not None:
        rows = rows.where(Lead.owner_id == owner)
    return rows.order_by(*_WAITING_LONGEST)


def _column_parts(rows: Select[int], *, place: int, after: Key | None) -> list[Select[*tuple[Any, ...]]]:
    """Select (id, place, 0) of the cards of a column, and (0, place, count) of its leads."""
    counted = rows.limit(COUNTED).subquery()
    if after is not None:
        rows = rows.where(tuple_(*_WAITING_LONGEST) > tuple_(*after))
    cards = rows.limit(SHOWN + 1).subquery()
    return [
        select(cards.c.id, literal(place).label("place"), literal(0).label("many")),
        select(literal(0), literal(place), func.count()).select_from(counted),
    ]


def _load(ids: Sequence[int]) -> Mapping[str, Sequence[Lead]]:
    """Return the leads by stage, in the order of the board; an empty list for a stage without leads."""
    by_stage: defaultdict[str, list[Lead]] = defaultdict(list)
    for lead in db.session.scalars(select(Lead).where(Lead.id.in_(ids)).order_by(*_WAITING_LONGEST)):
        by_stage[lead.stage].append(lead)
    return by_stage


def _column(stage: str, leads: Sequence[Lead], count: int, crises: Sequence[Lead]) -> BoardColumn:
    more, leads = len(leads) > SHOWN, leads[:SHOWN]
    return BoardColumn(
        stage=stage,
        leads=crisis_first(leads, crises=crises, belongs=lambda lead: lead.stage == stage),
        count=f"{COUNTED - 1}+" if count >= COUNTED else str(count),
        next=paging.encode(leads[-1].stage_at, leads[-1].id) if more else None,
    )
