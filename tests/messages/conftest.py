"""A transport that keeps what it was given, in the place of the real ones."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from crm.core import queue
from crm.core.db import db, transaction
from crm.core.flask_app import CrmApp
from crm.mailer.memory import MemoryMailer
from crm.messages import transports
from crm.messages.limits.outside_mark import KEY
from crm.messages.models import Batch
from crm.sequences import planner
from tests.support import factories as support_factories


@pytest.fixture
def outbox(database, redis, clock) -> Iterator[MemoryMailer]:
    """The shipped content is there, time stands still, and mail ends in `outbox.sent`."""
    mailer = MemoryMailer(name="sendgrid")
    transports.use({"sendgrid": mailer})
    with transaction():
        support_factories.shipped()
    yield mailer
    transports.use({})


@pytest.fixture
def ready(outbox: MemoryMailer) -> int:
    """A batch that may leave."""
    with transaction():
        support_factories.opted_in(support_factories.contact())
        db.session.execute(text("update batch set state = 'cancelled' where kind = 'transactional'"))
    with transaction():
        planner.plan_due()
    found = db.session.scalars(select(Batch.id).where(Batch.state == "ready")).one()
    db.session.commit()
    return found


def forget_outside_mark(app: CrmApp) -> None:
    """Remove the mark outside the database, which is not rolled back with it."""
    app.settings.sending_mark_file.unlink(missing_ok=True)
    queue.redis().delete(KEY)
