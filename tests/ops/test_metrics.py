"""Metrics, and who may read them."""

import re
from dataclasses import replace

import pytest
from redis import Redis
from sqlalchemy import text

from crm.core import clock as clocks
from crm.core import current, queue
from crm.core.db import db, transaction
from crm.mailer import Fate, Outcome
from crm.messages.engine import sweep
from crm.messages.limits import switches
from tests.messages.conftest import outbox
from tests.messages.test_engine import deliver_all, enrolled, plan

__all__ = ["outbox"]


def read(client) -> dict[str, float]:
    """Name with labels -> value."""
    found = client.get("/metrics")
    assert found.status_code == 200
    lines = [line for line in found.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_numbers_for_the_machine_itself(client):
    found = read(client)
    assert found["crm_mail_waits"] == 0
    assert found["crm_stopped"] == 0
    assert found["crm_redis"] == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 404), ({"Authorization": "Bearer wrong"}, 404), ({"Authorization": "Bearer right"}, 200)],
)
def test_a_token_when_one_is_set(client, app, headers, status):
    kept = app.settings
    app.settings = replace(kept, metrics_token="right")
    try:
        assert client.get("/metrics", headers=headers).status_code == status
    finally:
        app.settings = kept


@pytest.mark.parametrize("address", ["1.2.3.4:5555", "nonsense", ""])
def test_an_address_in_another_form_is_not_this_machine(client, address):
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": address}).status_code == 404


def test_how_sending_stands(outbox, client, app, clock):
    enrolled()
    enrolled(email="ben@patients.example", language="es")
    with transaction():
        switches.set_pace(per_minute=100, per_day=None, ramp_from=clocks.now(), domains={})
    clock.shift(30)
    assert (read(client)["crm_steps_wait"], read(client)["crm_steps_due"]) == (30, 2)
    plan()
    clock.shift(60)
    found = read(client)
    assert (found["crm_mail_waits"], found["crm_steps_due"]) == (60, 0)
    assert (found['crm_batches{state="ready"}'], found['crm_emails{state="ready"}']) == (2, 2)
    outbox.answers.append(Outcome(fate=Fate.UNKNOWN, error="x"))
    deliver_all(app)
    clock.shift(20)
    found = read(client)
    assert (found['crm_batches{state="uncertain"}'], found["crm_uncertain_waits"]) == (1, 20)
    assert (found['crm_pace_used{window="day"}'], found['crm_pace_cap{window="day"}']) == (2, 200)
    assert found['crm_pace_cap{window="minute"}'] == 100


def test_breakers_events_and_lists(outbox, client, clock):
    with transaction():
        switches.stop_stream("prospect_edu", reason="bounces: 4 of 200")
        switches.stop(by="Kim", reason="Looking at it")
        now = {"now": clocks.now()}
        db.session.execute(text("insert into webhook_receipt (received_at, body) values (:now, '')"), now)
        db.session.execute(
            text("insert into reconciliation (started_at, finished_at) values (:now, :now)"), now
        )
    clock.shift(45)
    found = read(client)
    assert found['crm_stream_stopped{stream="prospect_edu"}'] == 1
    assert found['crm_stream_stopped{stream="transactional"}'] == 0
    assert (found["crm_events_wait"], found["crm_events_waiting"], found["crm_webhook_silent"]) == (45, 1, 45)
    assert (found["crm_lists_compared"], found["crm_stopped"], found["crm_alerts"]) == (45, 1, 1)


def test_the_mark_that_differs(outbox, client):
    with transaction():
        switches.heartbeat(guard_silence=False)
    found = read(client)
    marks = {name: value for name, value in found.items() if name.startswith("crm_database_differs")}
    assert len(marks) == 7
    assert set(marks.values()) == {0}
    with transaction():
        db.session.execute(text("update sending_control set place = '/somewhere/else'"))
    found = read(client)
    assert {name for name in marks if found[name]} == {'crm_database_differs{mark="place"}'}


def test_queues_and_a_redis_that_is_away(outbox, client):
    with transaction():
        sweep.run_sweep(production=False)
        queue.enqueue("messages.sweep")
    found = read(client)
    assert found['crm_jobs_waiting{queue="urgent"}'] == 1
    assert 0 <= found['crm_queue_lag{queue="urgent"}'] < 10**9
    assert (found['crm_workers{queue="bulk"}'], found["crm_scheduler"]) == (0, 0)
    current.services().redis = Redis(port=9)
    assert read(client)["crm_redis"] == 0


def test_nobody_is_in_the_numbers(outbox, client, app):
    enrolled()
    plan()
    deliver_all(app)
    page = client.get("/metrics").text
    assert not re.search(r"@|ana|lopez|welcome", page, re.IGNORECASE)
