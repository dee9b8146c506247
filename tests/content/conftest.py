"""A transport that keeps what it was given, in the place of the real ones."""

from collections.abc import Iterator
from typing import Any

import pytest

from crm.core.db import transaction
from crm.core.flask_app import CrmApp
from crm.mailer.memory import MemoryMailer
from crm.messages import transports
from tests.support import factories as support_factories


@pytest.fixture
def outbox(database: CrmApp, redis: Any, clock: Any) -> Iterator[MemoryMailer]:
    """The shipped content is there, time stands still, and mail ends in `outbox.sent`."""
    mailer = MemoryMailer(name="sendgrid")
    transports.use({"sendgrid": mailer})
    with transaction():
        support_factories.shipped()
    yield mailer
    transports.use({})
