"""Concurrent consent changes, on separate connections with real commits."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import func, select, text

from crm.consent import consent_texts, service
from crm.consent.events import ConsentWithdrawn
from crm.consent.models import Confirmation, ConsentRecord, Suppression
from crm.consent.rules import ConfirmationKind
from crm.contacts.addresses import address_index
from crm.contacts.models import Contact
from crm.core import tokens
from crm.core.db import db, transaction
from crm.core.tokens import Purpose
from tests.consent.factories import person


@pytest.fixture
def jane(app, redis):
    """The id of a committed contact, removed afterwards."""
    with app.app_context(), transaction():
        contact_id = person().id
    yield contact_id
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))  # lets even evidence go
        for table in ("consent_state", "consent_record", "confirmation"):
            connection.execute(text(f"delete from {table} where contact_id = :id"), {"id": contact_id})
        connection.execute(text("delete from audit_entry where object_id = :id"), {"id": contact_id})
        connection.execute(text("delete from contact where id = :id"), {"id": contact_id})
        connection.execute(text("delete from suppression"))


def at_once(app, act, times=4):
    """Run `act` in several threads that start together; return what each gave back."""
    start = Barrier(times)

    def run(_):
        with app.app_context():
            start.wait()
            return act()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


def ask(contact_id):
    with transaction():
        question = service.request_confirmation(
            contact=db.session.get(Contact, contact_id),
            topics=["prospect_edu"],
            kind=ConfirmationKind.CONFIRMATION,
            wording=consent_texts.current("contact-form", "en"),
            language="en",
            source="form",
        )
        return question.id if question else None


def count(app, column, **where):
    with app.app_context():
        return db.session.scalar(select(func.count(column)).filter_by(**where))


def test_one_confirmation(app, jane):
    asked = at_once(app, lambda: ask(jane))
    assert len([question for question in asked if question]) == 1
    assert count(app, Confirmation.id) == 1


def confirm(question):
    with transaction():
        return service.confirm(confirmation_id=question).id


@pytest.mark.parametrize("way", ["page", "service"])
def test_one_grant(app, jane, told, way):
    with app.app_context():
        question = ask(jane)
        token = tokens.sign(Purpose.CONFIRM, question)
    told.clear()
    if way == "page":
        assert at_once(app, lambda: app.test_client().post(f"/c/{token}").status_code) == [200] * 4
    else:
        assert at_once(app, lambda: confirm(question)) == [question] * 4
    assert count(app, ConsentRecord.id, action="granted") == 1
    assert len(told) == 1


def test_one_suppression(app, jane, told):
    with app.app_context(), transaction():
        service.set_topics(contact_id=jane, topics=["prospect_edu"], language="en")
        token = tokens.sign(Purpose.UNSUBSCRIBE, jane)
    told.clear()
    answers = at_once(app, lambda: app.test_client().post(f"/u/{token}").status_code)
    assert answers == [200] * 4
    assert count(app, Suppression.id) == 1
    assert count(app, ConsentRecord.id, action="withdrawn") == 1
    assert told == [ConsentWithdrawn(contact_id=jane, topic=None, reason="opted_out")]


def test_batches_with_common_addresses_do_not_deadlock(app, jane):
    with app.app_context():
        addresses = [address_index(f"p{number}@example.org") for number in range(300)]
    orders = [addresses, addresses[::-1], addresses[150:] + addresses[:150], addresses[::-1]]

    def stop():
        mine = orders.pop()
        with transaction():
            return service.suppress_many(
                service.NewSuppression(address_index=index, scope="all", reason="bounced", source="event")
                for index in mine
            )

    assert sum(at_once(app, stop)) == 300
