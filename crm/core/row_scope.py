"""Row scope: conditions that every statement of a reader must meet, added in one place, where the ORM runs it.

A query cannot forget them, and a new page needs no line for them. Statements of raw SQL are not touched: they count, they
show nobody.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy.event import listens_for
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.sql.base import ExecutableOption

_conditions: ContextVar[Sequence[ExecutableOption]] = ContextVar("row_scope", default=())


@contextmanager
def limited(conditions: Sequence[ExecutableOption]) -> Iterator[None]:
    """Add these conditions (`with_loader_criteria`) to each statement of the block."""
    token = _conditions.set(conditions)
    try:
        yield
    finally:
        _conditions.reset(token)


@contextmanager
def lifted() -> Iterator[None]:
    """Let the block see all rows: the system's own work, which shows the reader nothing."""
    with limited(()):
        yield


@listens_for(Session, "do_orm_execute")
def _limit(state: ORMExecuteState) -> None:
    conditions = _conditions.get()
    reads = state.is_select and not state.is_column_load and not state.is_relationship_load
    if conditions and (reads or state.is_update or state.is_delete):
        state.statement = state.statement.options(*conditions)
