"""How Alembic reaches the database: through the app, one transaction per migration, with a lock timeout."""

from alembic import context
from flask import current_app
from sqlalchemy import text

import crm.models  # noqa: F401 - fills the metadata
from crm.core.db import Base, db

config = context.config


def run() -> None:
    """Apply migrations over a connection of the app; waiting long for a lock would stop the clinic."""
    with db.engine.connect() as connection:
        connection.execute(text("set lock_timeout = '10s'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


if not current_app:
    raise RuntimeError("Migrations run inside the app: flask --app wsgi db upgrade")
run()
