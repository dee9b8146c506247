"""Chaos scenario: people consent, mail is sent, processes crash. Seeded, so failures are reproducible."""

import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import requests
from psycopg.errors import SerializationFailure
from redis import Redis

from crm.core.failpoints import POINTS
from crm.core.time_zones import NAMES
from tests.chaos.oracle import Verdict, judge
from tests.chaos.traffic import StaffSession, WebTraffic
from tests.support.stack import Stack, wait_until

VICTIMS = ("worker1", "worker2", "scheduler", "sandbox", "web", "backend", "postmaster", "redis")
FAULTS = (
    [],
    [{"kind": "status", "status": 503, "times": 1}],
    [{"kind": "rate_limit", "reset_in": 1, "times": 1}],
    [{"kind": "drop_before", "times": 1}],
    [{"kind": "drop_after", "times": 1}],
    [{"kind": "status", "status": 502, "body": "html", "times": 1}],
    [{"kind": "delay", "seconds": 0.5, "times": 2}],
)
_WHO = """
    with who as (
        insert into contact (created_at, first_name, last_name, email, email_index, language, time_zone)
        select %(now)s::timestamptz, 'Ana', 'Chaos', (array['even', 'odd'])[n %% 2 + 1] || n || '@chaos.example',
            decode(lpad(to_hex(n), 64, '0'), 'hex'), case when n %% 3 = 0 then 'es' else 'en' end, %(zone)s
        from generate_series(%(first)s::int, %(last)s::int) as n returning id, email_index
    ), said as (
        insert into consent_record (contact_id, address_index, topic, action, language, source, actor, at)
        select id, email_index, 'prospect_edu', 'granted', 'en', 'test', 'test',
            %(now)s::timestamptz - interval '1 day' from who
        returning id, contact_id, address_index, at
    ), state as (
        insert into consent_state (contact_id, topic, granted, record_id, at, address_index)
        select contact_id, 'prospect_edu', true, id, at, address_index from said
    )
"""
# People who said yes, and whose first email is due, a few every moment.
PEOPLE = f"""{_WHO}
    insert into enrolment (contact_id, sequence_id, version_id, consent_record_id, state, step, due_at, anchor_at,
        entered_at, send_now)
    select said.contact_id, s.id, v.id, said.id, 'active', 0, %(now)s::timestamptz, %(now)s::timestamptz,
        %(now)s::timestamptz, %(at_once)s
    from said, sequence s join sequence_version v on v.sequence_id = s.id where s.key = 'contact-request'
"""
# People who said yes and get a broadcast, which the next maintenance of campaigns launches.
BROADCAST = f"""{_WHO}, tagged as (
        insert into contact_tag (contact_id, tag, added_at) select contact_id, %(tag)s, at from said
    )
    insert into campaign (name, item_id, topic, audience, state, created_at, created_by, launch_at, launched_by)
    select 'Chaos', id, 'prospect_edu', jsonb_build_object('tags', jsonb_build_array(%(tag)s::text), 'exclude_tags', '[]'::jsonb),
        'scheduled', %(now)s::timestamptz, 'test', %(now)s::timestamptz, 'test'
    from content_item where kind = 'email' and stream = 'prospect_edu' order by id limit 1
"""


@dataclass
class Tally:
    """What a run of kills did."""

    deaths: Counter[str] = field(default_factory=Counter)  # by what died, or at which named instant
    flushes: int = 0
    requests_answered: int = 0

    @property
    def kills(self) -> int:
        return self.deaths.total()


def run_kills(stack: Stack, *, seed: int, kills: int, flush_every: int = 10) -> Tally:
    """Kill `kills` processes while mail goes out, some at a fail point."""
    dice, done = random.Random(seed), Tally()
    with WebTraffic(stack, pause=0.3, at_once=1) as traffic:
        while done.kills < kills:
            traffic.look()
            stack.ensure()
            people(stack, dice.randrange(5, 40))
            broadcast(stack, dice.randrange(5, 40))
            with suppress(requests.RequestException):  # it may still be starting
                mood = {"faults": dice.choice(FAULTS)}
                requests.put(f"{stack.sandbox_url}/sandbox/faults", json=mood, timeout=1)
            _round(stack, done, dice)
            if done.kills // flush_every > done.flushes:
                done.flushes += 1
                with Redis.from_url(stack.redis_url) as redis:
                    redis.flushall()
        stack.ensure()
    traffic.check()
    done.requests_answered = len(traffic.answered)
    return done


def _round(stack: Stack, done: Tally, dice: random.Random) -> None:
    """Some deaths within a second or two: workers at named instants, anything at random ones."""
    rarest = min(POINTS, key=lambda point: (done.deaths[point], dice.random()))
    armed, seldom = {}, dice.random() < 0.5  # every other time both at the instant that few have died at
    for name in dice.sample([name for name in stack.commands if name.startswith("worker")], 2):
        _kill(stack, name, done)
        armed[name] = rarest if seldom else dice.choice(POINTS)
        stack.start(name, FAIL_POINT=f"{armed[name]}:{1 if seldom else dice.randrange(1, 3)}")
    stack.ring()
    deadline = time.monotonic() + (3.0 if seldom else 0.0)
    while time.monotonic() < deadline and not any(stack.processes[name].poll() for name in armed):
        time.sleep(0.05)
    for victim in dice.sample(VICTIMS, dice.randrange(1, 3)):
        time.sleep(dice.uniform(0.0, 0.7))
        stack.ensure_servers()
        if victim not in armed:
            _kill(stack, victim, done)
        stack.ring()
    time.sleep(dice.uniform(0.0, 0.5))
    stack.ensure_servers()
    for name, point in armed.items():
        if stack.processes[name].poll() == -signal.SIGKILL:
            done.deaths[point] += 1


def _kill(stack: Stack, name: str, done: Tally) -> None:
    if name in stack.processes and stack.processes[name].poll() is not None:
        return  # it died of a fail point a moment ago
    stack.kill(name)
    done.deaths[name.rstrip("0123456789")] += 1


def finish(stack: Stack) -> Verdict:
    """Let everything settle, have a person send again what stayed unconfirmed, and judge: all must be there, once.

    By then events have settled everything that the provider accepted; what is still unconfirmed was never sent.
    """
    settle(stack)
    doubts = judge(stack).uncertain
    if doubts:
        with stack.sql() as database:
            found = database.execute("select id::text from batch where state = 'uncertain'").fetchall()
        desk = StaffSession(stack)
        for start in range(0, len(found), 200):
            desk.post(
                "/console/mail/decide", decision="again", batch=[one for (one,) in found[start : start + 200]]
            )
        settle(stack)
    verdict = judge(stack)
    verdict.doubted = len(doubts)
    return verdict


_MOVING = """
    select (select count(*) from batch where state = 'ready' and not_before <= %(now)s) as batches,
        (select count(*) from webhook_receipt where applied_at is null) as posts,
        (select count(*) from enrolment where state = 'active' and due_at <= %(now)s) as people,
        (select count(*) from campaign where state in ('scheduled', 'freezing')) as campaigns,
        (select max(throttled_until) from sending_control where throttled_until > %(now)s) as throttled
"""
_WAITING = """
    select min(greatest(at, %(now)s + interval '1 second')) from (
        select not_before as at from batch where state = 'ready'
        union all select lease_until from batch where state = 'sending') w
"""


def settle(stack: Stack, *, keep_faults: bool = False, seconds: float = 240) -> None:
    """Wait until nothing moves any more, without faults unless asked. What waits for a time, the clock is moved to it."""
    stack.ensure()
    stack.await_servers()
    if not keep_faults:
        requests.put(f"{stack.sandbox_url}/sandbox/faults", json={}, timeout=5)

    left: list[object] = []

    def quiet() -> bool:
        stack.ensure()  # a process with a fail point may reach it only now
        requests.post(f"{stack.sandbox_url}/sandbox/retry", timeout=5)
        stack.ring()
        with stack.sql() as database:
            given = {"now": stack.now()}
            *moving, throttled = database.execute(_MOVING, given).fetchone() or ()
            (next_at,) = database.execute(_WAITING, given).fetchone() or (None,)
        left[:] = [*moving, next_at]
        next_at = throttled or (None if any(moving) else next_at)
        if next_at is not None:
            stack.skip((next_at - stack.now()).total_seconds() / 86_400)
        if next_at is not None or any(moving):
            return False
        told = requests.get(f"{stack.sandbox_url}/sandbox/status", timeout=5).json()
        return not told["events_waiting"] and not told["requests_without_events_yet"]

    calm = [False]

    def quiet_twice() -> bool:  # what came with the last events may have set something moving
        was, calm[0] = calm[0], quiet()
        return was and calm[0]

    try:
        wait_until(quiet_twice, seconds=seconds, what="everything to settle", pause=0.3)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; batches, posts, people, campaigns, next: {left}") from error


def people(stack: Stack, count: int, *, zone: str | None = None, at_once: bool = True) -> None:
    """Let so many more people say yes; their first email is due at once, or in the hours of the sequence."""
    _insert(stack, PEOPLE, count, zone=zone, at_once=at_once)


def broadcast(stack: Stack, count: int, *, zone: str | None = None) -> None:
    """Let so many more people say yes, and launch a broadcast to them."""
    _insert(stack, BROADCAST, count, zone=zone)


def _insert(stack: Stack, statement: str, count: int, *, zone: str | None, at_once: bool = True) -> None:
    now = stack.now()
    given = {
        "first": stack.people + 1,
        "last": stack.people + count,
        "now": now,
        "zone": zone or _zone_at_eleven(now),
        "at_once": at_once,
        "tag": f"lot-{stack.people}",
    }
    names = {name: value for name, value in given.items() if f"%({name})s" in statement}
    _execute(stack, statement, names)
    stack.people += count


def _execute(stack: Stack, statement: str, given: dict[str, object]) -> None:
    """Run one statement, again when PostgreSQL undid it because it collided, as our own transactions do."""
    for _ in range(20):
        with suppress(SerializationFailure), stack.sql() as database:
            database.execute(statement, given)
            return
    raise AssertionError("the statement collided twenty times")


def _zone_at_eleven(now: datetime) -> str:
    """Return a zone where it is about eleven in the morning, so that a broadcast may leave."""
    hours = {name: now.astimezone(ZoneInfo(name)).hour for name in sorted(NAMES)}
    return min(hours, key=lambda name: abs(hours[name] - 11))
