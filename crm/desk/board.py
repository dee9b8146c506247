"""Open leads in columns, one for each stage: whoever has waited longest stands first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, literal, select, tuple_, union_all

from crm.core import paging
from crm.core.db import db
from crm.desk.bulk.actions import WITH_A_VISIT
from crm.leads.models import Lead
from crm.leads.rules import STAGES

BY_THEMSELVES = frozenset({"new", "unconfirmed", "confirmed", "spam"})  # the person's own yes, or a mistake
SHOWN = 20  # cards in a column
COUNTED = 100  # rows a count looks at before it says "99+"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One stage: some of its leads, how many there are as far as 99, and the cursor of those after them."""

    stage: str
    leads: Sequence[Lead]
    count: str
    next: str | None


def columns_of(kind: str) -> list[str]:
    """Return the stages that a board of this kind shows, in the order of the table of stages."""
    return [stage for stage, one in STAGES[kind].items() if not one.ends]


def ways(lead: Lead) -> list[str]:
    """Return where a card can be put: stages that may follow, take no reason, go with no visit and are people's to say."""
    stages = STAGES[lead.kind]
    return [
        to
        for to, one in stages.items()
        if to in stages[lead.stage].to
        and not (one.reasons or one.needs_outcome)
        and to not in WITH_A_VISIT | BY_THEMSELVES
    ]


def load_board(
    kind: str, *, owner: int | None = None, stage: str = "", cursor: str | None = None
) -> list[Column]:
    """Return the columns. `owner`: one person's leads only; `cursor`: where the column `stage` begins.

    Two statements, each reading a bounded part of an index for every column. Raises Invalid for an odd cursor.
    """
    after = paging.decode(cursor, (datetime, int)) if cursor else None
    stages = columns_of(kind)
    places = []
    for place, name in enumerate(stages):
        rows = select(Lead.id, literal(place).label("place")).where(
            Lead.kind == kind, Lead.stage == name, Lead.closed_at.is_(None)
        )
        if owner is not None:
            rows = rows.where(Lead.owner_id == owner)
        beyond = rows.order_by(Lead.stage_at, Lead.id).limit(COUNTED).subquery()
        if after is not None and name == stage:
            rows = rows.where(tuple_(Lead.stage_at, Lead.id) > tuple_(*after))
        first = rows.order_by(Lead.stage_at, Lead.id).limit(SHOWN + 1).subquery()
        places.append(select(first.c.id, literal(place).label("place"), literal(0).label("many")))
        places.append(select(literal(0), literal(place), func.count()).select_from(beyond))
    found = db.session.execute(union_all(*places)).all()
    ids = [row.id for row in found if row.id]
    leads = db.session.scalars(select(Lead).where(Lead.id.in_(ids)).order_by(Lead.stage_at, Lead.id)).all()
    counts = {row.place: row.many for row in found if not row.id}
    return [
        _column(name, [one for one in leads if one.stage == name], counts[place])
        for place, name in enumerate(stages)
    ]


def _column(stage: str, leads: Sequence[Lead], count: int) -> Column:
    more, leads = len(leads) > SHOWN, leads[:SHOWN]
    return Column(
        stage=stage,
        leads=leads,
        count=f"{COUNTED - 1}+" if count >= COUNTED else str(count),
        next=paging.encode(leads[-1].stage_at, leads[-1].id) if more else None,
    )
