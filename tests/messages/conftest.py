"""A transport that keeps what it was given, in the place of the real ones."""

from collections.abc import Iterator

import pytest

from crm.db import transaction
from crm.mailer.memory import MemoryMailer
from crm.messages import doors
from tests import makers


@pytest.fixture
def outbox(database, redis, clock) -> Iterator[MemoryMailer]:
    """The shipped content is there, time stands still, and mail ends in `outbox.sent`."""
    mailer = MemoryMailer(name="sendgrid")
    doors.use({"sendgrid": mailer})
    with transaction():
        makers.shipped()
    yield mailer
    doors.use({})
