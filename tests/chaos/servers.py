"""Redis and PostgreSQL: emptied, away, cut off, full."""

import random
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import requests
from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.desk import Desk, Visitors
from tests.chaos.results import Done, Skipped
from tests.chaos.scenario import broadcast, finish, people
from tests.support.stack import Fleet, wait_until

_AWAY_SECONDS = 60


def redis_away(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """Redis read-only, emptied, restarted, and gone for a minute; visitors are answered all the time."""
    dice = random.Random(seed)
    with Visitors(fleet) as visitors, Redis.from_url(fleet.redis_url) as redis:
        for _ in range(5):
            people(fleet, 50)
            fleet.ring()
            redis.execute_command("REPLICAOF", "127.0.0.1", "1")  # refuses every write from now on
            people(fleet, 50)
            time.sleep(dice.uniform(1, 3))
            redis.execute_command("REPLICAOF", "NO", "ONE")
            redis.flushall()
            with suppress(RedisError):
                fleet.ring()
            fleet.kill("redis")
            people(fleet, 20)
            time.sleep(dice.uniform(0, 1))
            fleet.ensure_servers()
        fleet.kill("redis")
        people(fleet, 100)
        time.sleep(_AWAY_SECONDS)
        fleet.ensure_servers()
        assert fleet.runs_not() == [], "Redis took somebody with it"
    visitors.check()
    assert visitors.failures == [], visitors.failures
    return (
        f"5 × read-only, FLUSHALL and kill -9, gone for {_AWAY_SECONDS} s, {len(visitors.answered)} visitors",
        finish(fleet),
    )


def database_cut(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """Every connection to PostgreSQL cut again and again, and restarts of all kinds, while mail goes out."""
    dice = random.Random(seed)
    with Visitors(fleet) as visitors:
        for turn in range(20):
            people(fleet, 30)
            broadcast(fleet, 30)
            fleet.ring()
            time.sleep(dice.uniform(0, 0.4))
            if turn % 4 == 3:
                fleet.restart_postgres(dice.choice(("fast", "immediate")))
            else:
                with fleet.sql() as database:
                    database.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                    )
        assert fleet.runs_not() == [], "PostgreSQL took somebody with it"
    visitors.check()
    return f"all connections cut 15 times, 5 restarts, {len(visitors.answered)} visitors", finish(fleet)


def database_crowded(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """max_connections reached for some seconds, three times."""
    with Visitors(fleet) as visitors:
        for _ in range(3):
            people(fleet, 50)
            fleet.ring()
            _take_all_connections(fleet, seconds=4)
            people(fleet, 50)
        assert fleet.runs_not() == []
    visitors.check()
    return f"max_connections reached 3 times, {len(visitors.answered)} visitors", finish(fleet)


def _take_all_connections(fleet: Fleet, *, seconds: float) -> None:
    """Cut everybody's, and take whatever becomes free faster than anybody else."""
    url, until = fleet.database_url.replace("+psycopg", ""), time.monotonic() + seconds
    with ExitStack() as held:
        first = held.enter_context(psycopg.connect(url, autocommit=True))
        first.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        while time.monotonic() < until:
            try:
                held.enter_context(psycopg.connect(url))
            except psycopg.OperationalError:
                time.sleep(0.005)


def database_full(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """PostgreSQL's disk (a small tmpfs) full, twice: a clear state meanwhile, and resumption after."""
    with _small_disk(fleet) as disk:
        with Visitors(fleet) as visitors:
            for _ in range(2):
                people(fleet, 100)
                _fill_until_it_hurts(fleet, disk / "ballast", visitors)
                with suppress(OSError), (disk / "ballast").open("ab", buffering=0) as file:
                    while file.write(bytes(512)):
                        pass
                said = _doctor(fleet)
                assert "database cannot be" in said, said
                (disk / "ballast").unlink()
                fleet.ensure_servers()
                _recount(fleet)
            assert fleet.runs_not() == []
        visitors.check()
        return f"disk full twice, {len(visitors.answered)} visitors", finish(fleet)


def _fill_until_it_hurts(fleet: Fleet, ballast: Path, visitors: Visitors) -> None:
    before, deadline = len(visitors.failures), time.monotonic() + 60
    while len(visitors.failures) == before:
        assert time.monotonic() < deadline, "the disk is not full enough to hurt"
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while file.write(bytes(65_536)):
                pass
        with suppress(psycopg.Error):
            people(fleet, 300)
        fleet.ring()


def _doctor(fleet: Fleet) -> str:
    try:
        return fleet.flask("doctor")
    except RuntimeError as error:
        return str(error)


def _recount(fleet: Fleet) -> None:
    """How many people there are: of some it was not said whether they were written down."""
    with fleet.sql() as database:
        found = database.execute(
            "select coalesce(max(substring(email from '[0-9]+')::int), 0) from contact where email ~ '^(odd|even)[0-9]'"
        ).fetchone()
    assert found is not None
    fleet.people = found[0]


@contextmanager
def _small_disk(fleet: Fleet) -> Iterator[Path]:
    """Move PostgreSQL, with its log of changes, to a file system with little room. Raises Skipped."""
    data, kept = fleet.folder / "postgres", fleet.folder / "postgres.kept"
    fleet.stop_postgres()
    data.rename(kept)
    data.mkdir()
    used = sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    options = f"size={used // 2**20 + 40}m,mode=755"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Skipped(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", str(data)], check=True)
        fleet.ensure_servers()
        yield data
    finally:
        fleet.stop()
        fleet.stop_postgres()
        subprocess.run(["umount", str(data)], check=True)


def collisions(fleet: Fleet, *, seed: int, kills: int) -> Done:
    """Real deadlocks in the web and in a worker, and an hour's mail with every transaction serializable."""
    _deadlock_in_the_web(fleet)
    _deadlock_in_a_worker(fleet)
    with fleet.sql() as database:
        database.execute("alter database postgres set default_transaction_isolation = 'serializable'")
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
        )
    end = fleet.crowd(workers=3)
    with Visitors(fleet, at_once=4) as visitors:
        for _ in range(10):
            people(fleet, 40)
            broadcast(fleet, 40)
            fleet.ring()
            time.sleep(0.3)
    visitors.check()
    assert visitors.failures == [], visitors.failures
    verdict = finish(fleet)
    end()
    with fleet.sql() as database:
        database.execute("alter database postgres reset default_transaction_isolation")
    wait_until(lambda: _deadlocks(fleet) >= 2, seconds=15, what="two deadlocks to be counted")
    again = len(re.findall(r"request\.again|database\.again|\"error\": \"OperationalError", fleet.logs()))
    return (
        f"{_deadlocks(fleet)} deadlocks, {again} collisions tried again, {len(visitors.answered)} visitors",
        verdict,
    )


def _deadlocks(fleet: Fleet) -> int:
    with fleet.sql() as database:
        found = database.execute("select deadlocks from pg_stat_database where datname = current_database()")
        (deadlocks,) = found.fetchone() or (0,)
    return int(deadlocks)


def _deadlock_in_the_web(fleet: Fleet) -> None:
    """Release takes the control row, then an alert's; we hold the alert's and then want the control row."""
    desk = Desk(fleet)
    with fleet.sql() as database:
        database.execute(
            "insert into alert (key, level, text, raised_at) values ('provider-key', 'danger', 'chaos', now())"
        )
    with _patient(fleet) as ours, ThreadPoolExecutor(1) as beside:
        ours.execute("select 1 from alert where key = 'provider-key' for update")
        released = beside.submit(desk.post, "/console/mail/release")
        _until_somebody_waits(fleet)
        ours.execute("select 1 from sending_control for update")  # the web is undone, and tries again
        ours.execute("commit")
        released.result()  # raises where the answer was no yes
    with fleet.sql() as database:
        found = database.execute(
            "select closed_at is not null from alert where key = 'provider-key'"
        ).fetchone()
    assert found == (True,)


def _deadlock_in_a_worker(fleet: Fleet) -> None:
    """A 429 is written down on the batch, then on the control row; we hold the latter, and then want the former."""
    slow = [
        {"kind": "delay", "seconds": 2, "times": 1},
        {"kind": "rate_limit", "reset_in": 1, "times": 1},
    ]
    requests.put(f"{fleet.sandbox_url}/sandbox/faults", json={"faults": slow}, timeout=5)
    people(fleet, 10)
    fleet.ring()
    sending = "select id from batch where state = 'sending'"

    def under_way() -> bool:
        with fleet.sql() as database:
            return database.execute(sending).fetchone() is not None

    wait_until(under_way, seconds=20, what="a batch to be under way", pause=0.02)
    with _patient(fleet) as ours:
        ours.execute("select 1 from sending_control for update")
        _until_somebody_waits(fleet, "greatest(throttled_until")
        ours.execute(f"{sending} for update")  # the worker is undone, and tries again
        ours.execute("commit")


@contextmanager
def _patient(fleet: Fleet) -> Iterator[psycopg.Connection]:
    """A transaction that leaves it to others to find a deadlock."""
    with psycopg.connect(fleet.database_url.replace("+psycopg", "")) as connection:
        connection.execute("set deadlock_timeout = '1min'")
        yield connection


def _until_somebody_waits(fleet: Fleet, what: str = "") -> None:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ilike '%%' || %s || '%%'"

    def waits() -> bool:
        with fleet.sql() as database:
            return database.execute(query, [what]).fetchone() != (0,)

    wait_until(waits, seconds=20, what=f"somebody to wait for a lock {what}")
