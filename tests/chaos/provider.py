"""SendGrid's moods, its key, and clocks that are wrong."""

import time
from datetime import timedelta

import requests

from tests.chaos.oracle import arrivals
from tests.chaos.results import Done
from tests.chaos.scenario import broadcast, finish, people, settle
from tests.chaos.traffic import StaffSession
from tests.support.stack import Stack, wait_until

_STOPPED = "select stopped_at is not null from sending_control"
_TOLD = "select count(*) from alert where key = %s and closed_at is null"


def provider_moods(stack: Stack, *, seed: int, kills: int) -> Done:
    """429 with reset, 500, 502, 503, slow, dropped before and after accepting, HTML bodies; all mixed."""
    faults = [
        {"kind": "rate_limit", "reset_in": 1, "probability": 0.1, "seed": seed},
        {"kind": "status", "status": 500, "probability": 0.1, "seed": seed + 1},
        {"kind": "status", "status": 502, "body": "html", "probability": 0.1, "seed": seed + 2},
        {"kind": "status", "status": 503, "probability": 0.1, "seed": seed + 3},
        {"kind": "drop_before", "probability": 0.1, "seed": seed + 4},
        {"kind": "drop_after", "probability": 0.1, "seed": seed + 5},
        {"kind": "delay", "seconds": 0.2, "probability": 0.2, "seed": seed + 6},
    ]
    requests.put(f"{stack.sandbox_url}/sandbox/faults", json={"faults": faults}, timeout=5)
    for _ in range(30):
        people(stack, 33)
        stack.ring()
        time.sleep(0.2)
    return "990 emails through seven faults", finish(stack)


def half_refused(stack: Stack, *, seed: int, kills: int) -> Done:
    """The provider finds half of every batch's addresses bad: those fail with the reason, the others leave."""
    mood = {"faults": [{"kind": "refuse", "match": "odd"}]}
    requests.put(f"{stack.sandbox_url}/sandbox/faults", json=mood, timeout=5)
    for _ in range(5):
        people(stack, 100)
        broadcast(stack, 100)
        stack.ring()
        time.sleep(0.5)
    settle(stack, keep_faults=True)
    verdict = finish(stack)
    with stack.sql() as database:
        wrong = database.execute(
            "select count(*) from message m join contact c on c.id = m.contact_id "
            "where (m.state = 'failed') <> (c.email like 'odd%') or (m.state = 'failed' and m.reason is null)"
        ).fetchone()
    assert wrong == (0,), f"{wrong} with the wrong fate"
    assert verdict.sent == verdict.not_sent["failed"] == 500, verdict
    return f"{verdict.sent} of {verdict.sent * 2} refused by name", verdict


def key_revoked(stack: Stack, *, seed: int, kills: int) -> Done:
    """The provider revokes the key: all sending stops with an alert; with a new key it continues, and no email is lost."""
    people(stack, 50)
    stack.ring()
    stack.kill("sandbox")
    key = {"SENDGRID_API_KEY": "SG.chaos.brandnew"}
    stack.start("sandbox", **key)
    stack.await_servers()
    for _ in range(4):
        people(stack, 50)
        stack.ring()

    def stopped() -> bool:
        with stack.sql() as database:
            return database.execute(_STOPPED).fetchone() == (True,)

    wait_until(stopped, seconds=30, what="all sending to stop")
    before = arrivals(stack)
    people(stack, 50)
    stack.ring()
    time.sleep(2)
    assert arrivals(stack) == before, "something left after the stop"
    with stack.sql() as database:
        assert database.execute(_TOLD, ["provider-key"]).fetchone() == (1,), "nobody was told"
    stack.env |= key
    for name in ("worker1", "worker2"):
        stack.kill(name)
        stack.start(name)
    StaffSession(stack).post("/console/mail/release")
    verdict = finish(stack)
    with stack.sql() as database:
        assert database.execute(_TOLD, ["provider-key"]).fetchone() == (0,), "the alert has no end"
    assert verdict.doubted == 0
    return "key revoked in the middle, replaced, released", verdict


def clocks_apart(stack: Stack, *, seed: int, kills: int) -> Done:
    """A worker an hour ahead, one an hour behind, the scheduler ahead, the database right; then all are set right."""
    # On a Wednesday: what is asked for at once keeps to weekdays for a worker whose clock is more than an hour off.
    stack.skip((2 - stack.now().weekday()) % 7)
    for name, hours in (("worker1", 1), ("worker2", -1), ("scheduler", 1)):
        stack.kill(name)
        stack.start(name, **stack.off(name, timedelta(hours=hours)))
    moods = (
        {},
        {
            "faults": [
                {"kind": "rate_limit", "reset_in": 1, "times": 2},
                {"kind": "delay", "seconds": 0.3, "times": 3},
            ]
        },
        {"faults": [{"kind": "status", "status": 503, "times": 2}]},
    )
    for turn in range(12):
        requests.put(f"{stack.sandbox_url}/sandbox/faults", json=moods[turn % 3], timeout=5)
        people(stack, 40)
        broadcast(stack, 40)
        stack.ring()
        time.sleep(0.7)
    stack.clocks.clear()
    for name in ("worker1", "worker2", "scheduler"):
        stack.kill(name)
    return "two workers and the scheduler up to two hours apart", finish(stack)
