"""A nurse of a practice, and her browser in the portal."""

import pytest

from crm.core.db import transaction
from tests.portal.test_portal import enter, practice_person
from tests.support import factories


@pytest.fixture
def nurse(database, redis):
    with transaction():
        factories.shipped()
    return practice_person()


@pytest.fixture
def portal(database, nurse):
    return enter(database, nurse)
