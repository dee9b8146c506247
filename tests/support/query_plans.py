"""Query plans: how PostgreSQL would run the statements of an act, were no table small enough to be read whole."""

import re
from collections.abc import Callable

from sqlalchemy import event, text

from crm.core.db import db, transaction

ASKED = re.compile(r"\s*(with|select|insert|update)\b", re.IGNORECASE)


def plans_of(act: Callable[[], object]) -> list[tuple[str, str]]:
    """Return each statement of `act` with its plan. A sequential scan is left only where nothing else is there."""
    seen, engine = [], db.engines[None]

    def note(_connection, _cursor, statement, given, *_rest):
        seen.append((statement, given))

    event.listen(engine, "before_cursor_execute", note)
    try:
        with transaction():
            act()
            db.session.flush()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    with transaction():
        db.session.execute(text("set local enable_seqscan = off"))
        found = [(statement, _plan(statement, given)) for statement, given in seen if ASKED.match(statement)]
        db.session.execute(text("set local enable_seqscan = on"))
    assert found
    return found


def _plan(statement: str, given: object) -> str:
    rows = db.session.connection().exec_driver_sql("explain " + statement, given)
    return "\n".join(row[0] for row in rows)
