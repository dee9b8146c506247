"""One migration at a time."""

import pytest
from sqlalchemy import create_engine

from crm.core.migration_lock import Busy, one_migration


def test_a_second_migration_waits_and_then_goes_on(settings):
    engine = create_engine(settings.database_url)
    with engine.connect() as first, engine.connect() as second:
        with one_migration(first), pytest.raises(Busy, match="migrating"), one_migration(second, patience=0):
            pytest.fail("two migrations at once")
        with one_migration(second, patience=0):
            pass
    engine.dispose()
