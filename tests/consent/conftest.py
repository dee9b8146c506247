"""Fixtures of the consent tests."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from crm.consent.events import (
    AddressesSuppressed,
    ConfirmationRequested,
    ConsentGiven,
    ConsentRestored,
    ConsentWithdrawn,
)


@pytest.fixture(autouse=True)
def _still(clock):
    """Time stands still unless a test moves it."""


@pytest.fixture(autouse=True)
def told(app):
    """Every event of consent as it was published; nobody else hears of it."""
    seen = []
    kinds = (AddressesSuppressed, ConfirmationRequested, ConsentGiven, ConsentRestored, ConsentWithdrawn)
    kept = app.services.reactions
    app.services.reactions = {kind: [seen.append] for kind in kinds}
    yield seen
    app.services.reactions = kept


@pytest.fixture
def statements():
    """A context manager that collects every SQL statement sent while it is open, savepoints left out."""

    @contextmanager
    def watch():
        seen = []

        def note(_connection, _cursor, statement, *_):
            if "savepoint" not in statement.lower():
                seen.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(Engine, "before_cursor_execute", note)

    return watch
