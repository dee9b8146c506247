"""One play: people say yes, mail goes out, things die. Seeded, so that a bad end can be had again."""

import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import requests
from redis import Redis

from crm.failpoints import POINTS
from tests.chaos.oracle import Verdict, judge
from tests.fleet import Fleet, wait_until

VICTIMS = ("worker1", "worker2", "scheduler", "sandbox", "web", "backend", "postmaster", "redis")
AT_ONCE = 4  # deaths in one round, at most
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
        select %(now)s::timestamptz, 'Ana', 'Chaos', 'c' || n || '@chaos.example', decode(lpad(to_hex(n), 64, '0'), 'hex'),
            case when n %% 3 = 0 then 'es' else 'en' end, 'America/Los_Angeles'
        from generate_series(%(first)s::int, %(last)s::int) as n returning id, email_index
    ), said as (
        insert into consent_record (contact_id, address_index, topic, action, language, source, actor, at)
        select id, email_index, 'prospect_edu', 'granted', 'en', 'test', 'test', %(now)s::timestamptz from who
        returning id, contact_id, address_index, at
    ), state as (
        insert into consent_state (contact_id, topic, granted, record_id, at, address_index)
        select contact_id, 'prospect_edu', true, id, at, address_index from said
    )
    insert into enrolment (contact_id, sequence_id, version_id, consent_record_id, state, step, due_at, anchor_at,
        entered_at, send_now)
    select said.contact_id, s.id, v.id, said.id, 'active', 0, %(now)s::timestamptz, %(now)s::timestamptz,
        %(now)s::timestamptz, true
    from said, sequence s join sequence_version v on v.sequence_id = s.id where s.key = 'contact-request'
"""


@dataclass
class Played:
    """What was done in a play."""

    deaths: Counter[str] = field(default_factory=Counter)  # by what died, or at which named instant
    flushes: int = 0
    seconds: float = 0.0
    verdict: Verdict | None = None

    @property
    def kills(self) -> int:
        return self.deaths.total()


def play(fleet: Fleet, *, seed: int, kills: int, flush_every: int = 10, faults: bool = True) -> Played:
    """Kill `kills` processes while mail goes out, some at a fail point, then let everything settle and judge."""
    dice, done = random.Random(seed), Played()
    started = time.monotonic()
    while done.kills < kills:
        fleet.ensure()
        people(fleet, dice.randrange(5, 40))
        if faults:
            _provider(fleet, dice)
        _round(fleet, done, dice)
        if done.kills // flush_every > done.flushes:
            done.flushes += 1
            with Redis.from_url(fleet.redis_url) as redis:
                redis.flushall()
    settle(fleet)
    done.verdict = judge(fleet)
    done.seconds = time.monotonic() - started
    return done


def _round(fleet: Fleet, done: Played, dice: random.Random) -> None:
    """Some deaths within a second or two: workers at named instants, anything at random ones."""
    armed = {}
    for name in dice.sample([name for name in fleet.commands if name.startswith("worker")], 2):
        _kill(fleet, name, done)
        armed[name] = dice.choice(POINTS)
        fleet.start(name, FAIL_POINT=f"{armed[name]}:{dice.randrange(1, 3)}")
    fleet.ring()
    for victim in dice.sample(VICTIMS, dice.randrange(1, AT_ONCE - 1)):
        time.sleep(dice.uniform(0.0, 0.7))
        fleet.ensure_servers()
        if victim not in armed:
            _kill(fleet, victim, done)
        fleet.ring()
    time.sleep(dice.uniform(0.0, 0.5))
    fleet.ensure_servers()
    for name, point in armed.items():
        if fleet.processes[name].poll() == -signal.SIGKILL:
            done.deaths[point] += 1


def _kill(fleet: Fleet, name: str, done: Played) -> None:
    if name in fleet.processes and fleet.processes[name].poll() is not None:
        return  # it died of a fail point a moment ago
    fleet.kill(name)
    done.deaths[name.rstrip("0123456789")] += 1


def settle(fleet: Fleet, *, seconds: float = 120) -> None:
    """Take the faults away and wait until nothing moves any more; what waits for a time, the clock is moved to it."""
    fleet.ensure()
    fleet.await_servers()
    requests.put(f"{fleet.sandbox_url}/sandbox/faults", json={}, timeout=5)
    requests.post(f"{fleet.sandbox_url}/sandbox/retry", timeout=5)
    moving = """
        select (select count(*) from batch where state = 'ready' and not_before <= %(now)s)
            + (select count(*) from webhook_receipt where applied_at is null)
            + (select count(*) from enrolment where state = 'active' and due_at <= %(now)s)
    """
    waiting = """
        select min(greatest(at, %(now)s + interval '1 second')) from (
            select not_before as at from batch where state = 'ready'
            union all select lease_until from batch where state = 'sending'
            union all select throttled_until from sending_control where throttled_until > %(now)s) w
    """

    def quiet() -> bool:
        fleet.ring()
        with fleet.sql() as database:
            given = {"now": fleet.now()}
            if database.execute(moving, given).fetchone() != (0,):
                return False
            (next_at,) = database.execute(waiting, given).fetchone() or (None,)
        if next_at is not None:
            fleet.skip((next_at - fleet.now()).total_seconds() / 86_400)
        told = requests.get(f"{fleet.sandbox_url}/sandbox/status", timeout=5).json()
        return next_at is None and not told["events_waiting"] and not told["requests_without_events_yet"]

    wait_until(quiet, seconds=seconds, what="everything to settle", pause=0.3)


def people(fleet: Fleet, count: int) -> None:
    """Let so many more people say yes; their first email is due at once."""
    with fleet.sql() as database:
        database.execute(
            PEOPLE, {"first": fleet.people + 1, "last": fleet.people + count, "now": fleet.now()}
        )
    fleet.people += count


def _provider(fleet: Fleet, dice: random.Random) -> None:
    with suppress(requests.RequestException):  # it may have been killed a moment ago
        requests.put(f"{fleet.sandbox_url}/sandbox/faults", json={"faults": dice.choice(FAULTS)}, timeout=1)
