"""One play: people say yes, mail goes out, things die. Seeded, so that a bad end can be had again."""

import random
import time
from contextlib import suppress
from dataclasses import dataclass

import requests
from redis import Redis

from crm.failpoints import POINTS
from tests.chaos.oracle import Verdict, judge
from tests.fleet import Fleet, wait_until

VICTIMS = ("worker1", "worker2", "worker1", "worker2", "scheduler", "sandbox", "web")
FAULTS = (
    [],
    [{"kind": "status", "status": 503, "times": 1}],
    [{"kind": "rate_limit", "reset_in": 1, "times": 1}],
    [{"kind": "drop_before", "times": 1}],
    [{"kind": "drop_after", "times": 1}],
    [{"kind": "status", "status": 502, "body": "html", "times": 1}],
    [{"kind": "delay", "seconds": 0.5, "times": 2}],
)
# People who said yes, and whose first email is due, a few every moment.
PEOPLE = """
    with who as (
        insert into contact (created_at, first_name, last_name, email, email_index, language, time_zone)
        select now(), 'Ana', 'Chaos', 'c' || n || '@chaos.example', decode(lpad(to_hex(n), 64, '0'), 'hex'),
            case when n %% 3 = 0 then 'es' else 'en' end, 'America/Los_Angeles'
        from generate_series(%(first)s::int, %(last)s::int) as n returning id, email_index
    ), said as (
        insert into consent_record (contact_id, address_index, topic, action, language, source, actor, at)
        select id, email_index, 'prospect_edu', 'granted', 'en', 'test', 'test', now() from who
        returning id, contact_id, address_index, at
    ), state as (
        insert into consent_state (contact_id, topic, granted, record_id, at, address_index)
        select contact_id, 'prospect_edu', true, id, at, address_index from said
    )
    insert into enrolment (contact_id, sequence_id, version_id, consent_record_id, state, step, due_at, anchor_at,
        entered_at, send_now)
    select said.contact_id, s.id, v.id, said.id, 'active', 0, now(), now(), now(), true
    from said, sequence s join sequence_version v on v.sequence_id = s.id where s.key = 'contact-request'
"""


@dataclass
class Played:
    """What was done in a play."""

    kills: int = 0
    flushes: int = 0
    people: int = 0
    seconds: float = 0.0
    verdict: Verdict | None = None


def play(fleet: Fleet, *, seed: int, kills: int, flush_every: int = 10, faults: bool = True) -> Played:
    """Kill `kills` processes while mail goes out, some at a fail point, then let everything settle and judge."""
    dice, done = random.Random(seed), Played()
    started = time.monotonic()
    while done.kills < kills:
        fleet.ensure()
        people(fleet, done, dice.randrange(5, 40))
        if faults:
            _provider(fleet, dice)
        fleet.ring()
        if dice.random() < 0.5:  # at a named instant
            name, point = dice.choice(("worker1", "worker2")), dice.choice(POINTS)
            fleet.kill(name)
            fleet.start(name, FAIL_POINT=f"{point}:{dice.randrange(1, 3)}")
            deadline = time.monotonic() + dice.uniform(2.0, 4.0)
            while time.monotonic() < deadline and fleet.processes[name].poll() is None:
                people(fleet, done, 3)
                fleet.ring()
                time.sleep(0.2)
            fleet.kill(name)
            done.kills += 2
        else:  # at a random instant
            time.sleep(dice.uniform(0.0, 1.5))
            fleet.kill(dice.choice(VICTIMS))
            done.kills += 1
        if done.kills // flush_every > done.flushes:
            done.flushes += 1
            with _redis(fleet) as redis:
                redis.flushall()
    settle(fleet)
    done.verdict = judge(fleet)
    done.seconds = time.monotonic() - started
    return done


def settle(fleet: Fleet, *, seconds: float = 180) -> None:
    """Take the faults away and wait until nothing moves any more."""
    fleet.ensure()
    wait_until(
        lambda: requests.get(f"{fleet.sandbox_url}/sandbox/status", timeout=2).ok,
        seconds=30,
        what="the sandbox",
    )
    requests.put(f"{fleet.sandbox_url}/sandbox/faults", json={}, timeout=5)
    open_work = """
        select (select count(*) from batch where state in ('ready', 'sending'))
            + (select count(*) from webhook_receipt where applied_at is null)
            + (select count(*) from enrolment where state = 'active' and due_at <= now())
    """

    def quiet() -> bool:
        fleet.ring()
        with fleet.sql() as database:
            (left,) = database.execute(open_work).fetchone()
        return left == 0

    wait_until(quiet, seconds=seconds, what="everything to settle", pause=0.5)


def people(fleet: Fleet, done: Played, count: int) -> None:
    """Let so many more people say yes; their first email is due at once."""
    with fleet.sql() as database:
        database.execute(PEOPLE, {"first": done.people + 1, "last": done.people + count})
    done.people += count


def _provider(fleet: Fleet, dice: random.Random) -> None:
    with suppress(requests.RequestException):  # it may have been killed a moment ago
        requests.put(f"{fleet.sandbox_url}/sandbox/faults", json={"faults": dice.choice(FAULTS)}, timeout=1)


def _redis(fleet: Fleet) -> Redis:
    return Redis.from_url(fleet.redis_url)
