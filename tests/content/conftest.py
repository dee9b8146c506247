"""A transport that keeps what it was given, in the place of the real ones."""

from collections.abc import Iterator
from typing import Any

import pytest

from crm.app import CrmApp
from crm.db import transaction
from crm.mailer.memory import MemoryMailer
from crm.messages import doors
from tests import makers


@pytest.fixture
def outbox(database: CrmApp, redis: Any, clock: Any) -> Iterator[MemoryMailer]:
    """The shipped content is there, time stands still, and mail ends in `outbox.sent`."""
    mailer = MemoryMailer(name="sendgrid")
    doors.use({"sendgrid": mailer})
    with transaction():
        makers.shipped()
    yield mailer
    doors.use({})
