"""How Alembic reaches the database: through the app, one transaction per migration, with a lock timeout, one at a time."""

from pathlib import Path
from typing import Any

from alembic import context
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import text

import crm.models  # noqa: F401 - fills the metadata
from crm.core.db import Base, db
from crm.core.migration_lock import one_migration

config = context.config


def run() -> None:
    """Apply migrations over a connection of the app; waiting long for a lock would stop the clinic."""
    with db.engine.connect() as connection, one_migration(connection):
        connection.execute(text("set lock_timeout = '10s'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            transaction_per_migration=True,
            process_revision_directives=_number,
        )
        with context.begin_transaction():
            context.run_migrations()


def _number(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Give a new migration the next number instead of a random id."""
    head = ScriptDirectory(str(Path(__file__).parent)).get_current_head()
    directives[0].rev_id = f"{int(head or 0) + 1:04d}"


if not current_app:
    raise RuntimeError("Migrations run inside the app: flask --app wsgi db upgrade")
run()
