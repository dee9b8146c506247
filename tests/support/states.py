"""States for tests: bring rows into a state by allowed moves, since the database refuses any other."""

from collections import deque
from collections.abc import Mapping

from sqlalchemy import text

from crm.campaigns.rules import CAMPAIGN_MOVES
from crm.core.db import db
from crm.messages.rules import BATCH_MOVES

TABLES: Mapping[str, Mapping] = {"batch": BATCH_MOVES, "campaign": CAMPAIGN_MOVES}


def bring(table: str, new: str, *, where: str = "true") -> None:
    """Move every row of `table` that meets the condition to state `new`, over the states in between."""
    rows = db.session.execute(text(f"select id, state from {table} where {where}")).all()
    for row in rows:
        for state in way(TABLES[table], row.state, new):
            lease = (
                ", lease_until = case when :state = 'sending' then state_at end" if table == "batch" else ""
            )
            db.session.execute(
                text(f"update {table} set state = :state{lease} where id = :id"),
                {"state": str(state), "id": row.id},
            )


def way(moves: Mapping, old: str, new: str) -> list[str]:
    """Return the states from `old` to `new`, without `old`. Raises LookupError when no moves lead there."""
    paths = deque([[old]])
    while paths:
        path = paths.popleft()
        if path[-1] == new:
            return path[1:]
        paths.extend([*path, state] for state in moves[path[-1]] if state not in path)
    raise LookupError(f"No moves lead from {old} to {new}.")
