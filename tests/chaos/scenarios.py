"""What can go wrong, one function each: do it to a running installation, then say what the oracle found."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import requests
from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.oracle import Verdict, judge
from tests.chaos.play import people, play, settle
from tests.fleet import Fleet, wait_until

Done = tuple[str, Verdict]


@dataclass
class Result:
    """One row of the table."""

    name: str
    done: str
    verdict: Verdict | None
    seconds: float

    @property
    def well(self) -> bool:
        return self.verdict is not None and self.verdict.well

    def row(self) -> str:
        v = self.verdict
        counts = f"{v.sent} | {len(v.lost)} | {len(v.twice)} | {len(v.uncertain)}" if v else "- | - | - | -"
        return f"| {self.name} | {self.done}, {self.seconds:.0f} s | {counts} | {'well' if self.well else 'BAD':8} |"


def kills(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """kill -9 of any process at random and at every named instant, Redis emptied now and then, a moody provider."""
    played = play(fleet, seed=seed, kills=kills, flush_every=max(10, kills // 10))
    assert played.verdict is not None
    deaths = ", ".join(f"{count} × {name}" for name, count in sorted(played.deaths.items()))
    return f"{played.kills} × kill -9 ({deaths}), {played.flushes} × FLUSHALL", played.verdict


def redis_away(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """Redis read-only, then emptied, while mail goes out."""
    dice = random.Random(seed)
    with Redis.from_url(fleet.redis_url) as redis:
        for _ in range(5):
            people(fleet, 50)
            fleet.ring()
            redis.execute_command("CONFIG", "SET", "min-replicas-to-write", "1")  # refuses every write
            people(fleet, 50)
            time.sleep(dice.uniform(1, 3))
            redis.execute_command("CONFIG", "SET", "min-replicas-to-write", "0")
            redis.flushall()
            with suppress(RedisError):
                fleet.ring()
            fleet.ensure()
    settle(fleet)
    return "5 times read-only, 5 times FLUSHALL", judge(fleet)


def database_cut(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """Every connection to PostgreSQL cut, again and again, while mail goes out."""
    dice = random.Random(seed)
    for _ in range(20):
        people(fleet, 40)
        fleet.ring()
        time.sleep(dice.uniform(0, 0.4))
        with fleet.sql() as database:
            database.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
            )
        fleet.ensure()
    settle(fleet)
    return "20 times all connections cut", judge(fleet)


def provider_moods(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """429 with reset, 500, 502, 503, slow, dropped before and after accepting, part of a batch refused; all mixed."""
    faults = [
        {"kind": "rate_limit", "reset_in": 1, "probability": 0.1, "seed": seed},
        {"kind": "status", "status": 500, "probability": 0.1, "seed": seed + 1},
        {"kind": "status", "status": 502, "body": "html", "probability": 0.1, "seed": seed + 2},
        {"kind": "status", "status": 503, "probability": 0.1, "seed": seed + 3},
        {"kind": "drop_before", "probability": 0.1, "seed": seed + 4},
        {"kind": "drop_after", "probability": 0.1, "seed": seed + 5},
        {"kind": "delay", "seconds": 0.2, "probability": 0.2, "seed": seed + 6},
    ]
    requests.put(f"{fleet.sandbox_url}/sandbox/faults", json={"faults": faults}, timeout=5)
    for _ in range(30):
        people(fleet, 33)
        fleet.ring()
        time.sleep(0.2)
    settle(fleet)
    return "990 emails through seven faults", judge(fleet)


def key_revoked(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """The provider refuses the key: all sending stops, and goes on without losing one when released."""
    requests.put(
        f"{fleet.sandbox_url}/sandbox/faults", json={"faults": [{"kind": "status", "status": 401}]}, timeout=5
    )
    people(fleet, 200)
    fleet.ring()

    def stopped() -> bool:
        with fleet.sql() as database:
            return database.execute("select stopped_at is not null from sending_control").fetchone() == (
                True,
            )

    wait_until(stopped, seconds=30, what="all sending to stop")
    requests.put(f"{fleet.sandbox_url}/sandbox/faults", json={}, timeout=5)
    with fleet.sql() as database:
        database.execute(
            "update sending_control set stopped_at = null, stopped_by = null, stop_reason = null"
        )
    settle(fleet)
    return "key refused, then released", judge(fleet)


def sleeper(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """Workers frozen past their lease and woken: what they had in hand is not sent a second time."""
    for _ in range(3):
        people(fleet, 60)
        fleet.ring()
        time.sleep(0.05)
        pid = fleet.processes["worker1"].pid
        os.kill(pid, signal.SIGSTOP)
        with fleet.sql() as database:  # as if the lease's minute had passed
            database.execute(
                "update batch set lease_until = now() - interval '1 second' where state = 'sending'"
            )
        fleet.ring()
        time.sleep(1)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)
    settle(fleet)
    return "3 times frozen and woken", judge(fleet)


def many_hands(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """Two schedulers and ten workers on one installation."""
    extra = fleet.crowd(workers=8, schedulers=1)
    try:
        for _ in range(10):
            people(fleet, 100)
            fleet.ring()
            time.sleep(0.5)
        settle(fleet)
    finally:
        extra()
    return "10 workers, 2 schedulers", judge(fleet)


def events_storm(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """Events shuffled and doubled, and forged posts among them."""
    requests.put(
        f"{fleet.sandbox_url}/sandbox/faults",
        json={"events": {"shuffle": True, "duplicate": True}},
        timeout=5,
    )
    for _ in range(10):
        people(fleet, 50)
        fleet.ring()
        for _ in range(20):
            answer = requests.post(
                f"{fleet.web_url}/webhooks/sendgrid", data=b'[{"event":"bounce"}]', timeout=5
            )
            assert answer.status_code == 401
        time.sleep(0.3)
    settle(fleet)
    return "500 emails, events doubled and shuffled, 200 forged posts", judge(fleet)


def copied(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """A database that finds itself elsewhere sends nothing until someone releases it."""
    before = len(requests.get(f"{fleet.sandbox_url}/sandbox/recipients", timeout=10).text.splitlines())
    with fleet.sql() as database:
        database.execute("update sending_control set instance = 'elsewhere/1', alive_at = now()")
    fleet.ring()
    time.sleep(2)
    people(fleet, 100)
    fleet.ring()
    time.sleep(3)
    lines = requests.get(f"{fleet.sandbox_url}/sandbox/recipients", timeout=10).text.splitlines()
    assert len(lines) == before, f"{len(lines) - before} emails left a copied database"
    with fleet.sql() as database:
        database.execute("update sending_control set stopped_at = null, instance = null")
    settle(fleet)
    return "held, then released", judge(fleet)


SCENARIOS: dict[str, Callable[..., Done]] = {
    scenario.__name__: scenario
    for scenario in (
        kills, redis_away, database_cut, provider_moods, key_revoked, sleeper, many_hands, events_storm, copied
    )
}  # fmt: skip
