"""What interrupts an attempt: a database that is not ours, a sleep, a transaction that PostgreSQL ends."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from crm.core import db as databases
from crm.core.db import db, retry_transaction, transaction
from crm.mailer import Fate
from crm.messages import service
from crm.messages.engine import claim, sweep
from crm.messages.engine.deliver import NOT_CALLED, post, record_outcome
from crm.messages.limits import switches
from crm.messages.models import Batch, SendingControl


def take(app, batch_id: int) -> claim.Attempt | None:
    with transaction():
        return claim.claim_batch(batch_id, clinic=app.settings.clinic, public_url=app.settings.public_url)


def state(batch_id: int) -> str:
    db.session.expire_all()
    return db.session.scalars(select(Batch.state).where(Batch.id == batch_id)).one()


def test_after_a_day_of_silence_the_sweep_comes_first(app, clock, ready):
    with transaction():
        switches.heartbeat(guard_silence=True)
    clock.shift(timedelta(hours=25))
    assert take(app, ready) is None
    with transaction():
        switches.heartbeat(guard_silence=True)
    assert db.session.scalars(select(SendingControl.stopped_by)).one() == "system"


def test_an_expired_attempt_makes_no_call(app, clock, outbox, ready):
    attempt = take(app, ready)
    clock.shift(timedelta(seconds=61))
    with transaction():
        sweep.run_sweep(production=False)
    assert state(ready) == "uncertain"
    outcome = post(replace(attempt, until=time.monotonic() - 1))
    assert outcome.fate is Fate.TRY_AGAIN
    record_outcome(attempt, outcome)
    assert (state(ready), outbox.sent) == ("ready", [])


def test_a_late_outcome_does_not_change_a_decision(app, clock, ready):
    attempt = take(app, ready)
    clock.shift(timedelta(seconds=61))
    with transaction():
        sweep.run_sweep(production=False)
    with transaction():
        service.decide([ready], send_again=False)
    record_outcome(attempt, NOT_CALLED)
    assert state(ready) == "accepted"


def _undone() -> None:
    db.session.execute(text("set local statement_timeout = 1"))
    db.session.execute(text("select pg_sleep(5)"))


def test_a_known_outcome_is_recorded_again(database):
    tries: list[int] = []

    def work() -> str:
        tries.append(1)
        if len(tries) < 3:
            _undone()
        db.session.execute(update(SendingControl).values(per_minute=7))
        return "done"

    assert retry_transaction(work, seconds=5) == "done"
    assert len(tries) == 3
    assert db.session.scalars(select(SendingControl.per_minute)).one() == 7


def test_retries_stop_after_the_time_limit(database):
    with pytest.raises(OperationalError):
        retry_transaction(_undone, seconds=0)


@pytest.mark.parametrize(
    ("sqlstate", "expected"), [("40001", True), ("40P01", True), ("57014", False), (None, False)]
)
def test_only_collisions_are_nobodys_fault(sqlstate, expected):
    undone = type("Undone", (Exception,), {"sqlstate": sqlstate})()
    assert databases.collided(OperationalError("select 1", {}, undone)) is expected
