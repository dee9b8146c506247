"""One migration at a time: an advisory lock of PostgreSQL, held by the process that migrates."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

LOCK = 7_302_002  # names the migrations among PostgreSQL's advisory locks
PATIENCE = 900.0  # seconds that a second process waits for the first one


class Busy(SystemExit):
    """Another process has been migrating for too long; ends a command with one sentence."""


@contextmanager
def one_migration(connection: Connection, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of migrations; wait while another process holds it. Raises Busy after `patience` seconds."""
    until = time.monotonic() + patience
    while not connection.scalar(text("select pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        connection.rollback()
        if time.monotonic() >= until:
            raise Busy(
                "Another process has been migrating this database for a long time. See what it does, then try again."
            )
        time.sleep(0.5)
    connection.rollback()  # the lock belongs to the session and outlasts the transaction
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("select pg_advisory_unlock(:lock)"), {"lock": LOCK})
        connection.commit()
