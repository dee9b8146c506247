"""Posts of provider events that were set aside: staff see them on the page Mail and try them again."""

import pytest
from sqlalchemy import select, update

from crm.audit.models import AuditEntry
from crm.core.db import db, transaction
from crm.staff.models import Alert
from crm.tracking import rules, service
from crm.tracking.models import Receipt
from tests.support.browser_client import signed_in

RETRY = "/console/mail/events/retry"


@pytest.fixture
def set_aside(database, redis):
    with transaction():
        receipt_id = service.store_only(b"[]")
        for _ in range(rules.MOST_FAILURES):
            service.note_failure(receipt_id, error="CannotDecrypt")
    return receipt_id


def test_staff_try_again(database, set_aside):
    visitor = signed_in(database, "marketer")
    page = visitor.get("/console/mail").text
    assert "1 post of events could not be applied" in page
    assert RETRY in page
    assert visitor.post(RETRY).status_code == 302
    again = visitor.get("/console/mail").text
    assert "1 post of events is tried again." in again
    assert RETRY not in again
    receipt = db.session.get(Receipt, set_aside, populate_existing=True)
    assert (receipt.applied_at, receipt.failures) == (None, 1)
    assert db.session.scalar(select(Alert.id).where(Alert.closed_at.is_(None))) is None
    logged = db.session.scalars(
        select(AuditEntry.detail).where(AuditEntry.action == "event_posts.retry")
    ).one()
    assert logged == {"posts": 1}


def test_others_see_it_and_cannot(database, set_aside):
    visitor = signed_in(database, "front_desk")
    page = visitor.get("/console/mail").text
    assert "1 post of events could not be applied" in page
    assert RETRY not in page
    assert visitor.post(RETRY).status_code == 403
    assert db.session.scalar(select(Receipt.applied_at)) is not None


def test_a_healthy_page_says_nothing(database, redis):
    with transaction():
        receipt_id = service.store_only(b"[]")
        db.session.execute(update(Receipt).where(Receipt.id == receipt_id).values(failures=1))
    assert "set aside" not in signed_in(database, "admin").get("/console/mail").text
