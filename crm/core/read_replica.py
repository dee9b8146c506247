"""Read-only connection of reports: to the replica of REPORTS_DATABASE_URL where it is set, else the running transaction."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine

from crm.core import current
from crm.core.config import Settings
from crm.core.db import db

LONGEST = "-c default_transaction_read_only=on -c statement_timeout=20000"


def _engine_of(settings: Settings) -> Engine | None:
    url = settings.reports_database_url
    return (
        create_engine(url, pool_size=2, hide_parameters=True, connect_args={"options": LONGEST})
        if url
        else None
    )


_ENGINE = current.PerApp(_engine_of)


@contextmanager
def reading() -> Iterator[Connection]:
    """Give a connection for selects: on the replica it refuses to write and ends a statement after 20 seconds."""
    engine = _ENGINE.get()
    if engine is None:
        yield db.session.connection()
        return
    with engine.connect() as connection:
        yield connection
