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

from tests.chaos.results import Done, Skipped
from tests.chaos.scenario import broadcast, finish, people
from tests.chaos.traffic import StaffSession, WebTraffic
from tests.support.stack import Stack, wait_until

_AWAY_SECONDS = 60


def redis_away(stack: Stack, *, seed: int, kills: int) -> Done:
    """Redis read-only, emptied, restarted, and gone for a minute; contact requests are answered all the time."""
    dice = random.Random(seed)
    with WebTraffic(stack) as traffic, Redis.from_url(stack.redis_url) as redis:
        for _ in range(5):
            people(stack, 50)
            stack.ring()
            redis.execute_command("REPLICAOF", "127.0.0.1", "1")  # refuses every write from now on
            people(stack, 50)
            time.sleep(dice.uniform(1, 3))
            redis.execute_command("REPLICAOF", "NO", "ONE")
            redis.flushall()
            with suppress(RedisError):
                stack.ring()
            stack.kill("redis")
            people(stack, 20)
            time.sleep(dice.uniform(0, 1))
            stack.ensure_servers()
        stack.kill("redis")
        people(stack, 100)
        time.sleep(_AWAY_SECONDS)
        stack.ensure_servers()
        assert stack.runs_not() == [], "Redis took somebody with it"
    traffic.check()
    assert traffic.failures == [], traffic.failures
    return (
        f"5 × read-only, FLUSHALL and kill -9, gone for {_AWAY_SECONDS} s, {len(traffic.answered)} contact requests",
        finish(stack),
    )


def database_cut(stack: Stack, *, seed: int, kills: int) -> Done:
    """Every connection to PostgreSQL cut again and again, and restarts of all kinds, while mail goes out."""
    dice = random.Random(seed)
    with WebTraffic(stack) as traffic:
        for turn in range(20):
            people(stack, 30)
            broadcast(stack, 30)
            stack.ring()
            time.sleep(dice.uniform(0, 0.4))
            if turn % 4 == 3:
                stack.restart_postgres(dice.choice(("fast", "immediate")))
            else:
                with stack.sql() as database:
                    database.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                    )
        assert stack.runs_not() == [], "PostgreSQL took somebody with it"
    traffic.check()
    return f"all connections cut 15 times, 5 restarts, {len(traffic.answered)} contact requests", finish(
        stack
    )


def database_crowded(stack: Stack, *, seed: int, kills: int) -> Done:
    """max_connections reached for some seconds, three times."""
    with WebTraffic(stack) as traffic:
        for _ in range(3):
            people(stack, 50)
            stack.ring()
            _take_all_connections(stack, seconds=4)
            people(stack, 50)
        assert stack.runs_not() == []
    traffic.check()
    return f"max_connections reached 3 times, {len(traffic.answered)} contact requests", finish(stack)


def _take_all_connections(stack: Stack, *, seconds: float) -> None:
    """Cut all connections, and take those that become free faster than any other client."""
    url, until = stack.database_url.replace("+psycopg", ""), time.monotonic() + seconds
    with ExitStack() as held:
        first = held.enter_context(psycopg.connect(url, autocommit=True))
        first.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        while time.monotonic() < until:
            try:
                held.enter_context(psycopg.connect(url))
            except psycopg.OperationalError:
                time.sleep(0.005)


def database_full(stack: Stack, *, seed: int, kills: int) -> Done:
    """PostgreSQL's disk (a small tmpfs) full, twice: a clear state meanwhile, and resumption after."""
    with _small_disk(stack) as disk:
        with WebTraffic(stack) as traffic:
            for _ in range(2):
                people(stack, 100)
                _fill_until_it_hurts(stack, disk / "ballast", traffic)
                with suppress(OSError), (disk / "ballast").open("ab", buffering=0) as file:
                    while file.write(bytes(512)):
                        pass
                said = _doctor(stack)
                assert "database cannot be" in said, said
                (disk / "ballast").unlink()
                stack.ensure_servers()
                _recount(stack)
            assert stack.runs_not() == []
        traffic.check()
        return f"disk full twice, {len(traffic.answered)} contact requests", finish(stack)


def _fill_until_it_hurts(stack: Stack, ballast: Path, traffic: WebTraffic) -> None:
    before, deadline = len(traffic.failures), time.monotonic() + 60
    while len(traffic.failures) == before:
        assert time.monotonic() < deadline, "the disk is not full enough to hurt"
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while file.write(bytes(65_536)):
                pass
        with suppress(psycopg.Error):
            people(stack, 300)
        stack.ring()


def _doctor(stack: Stack) -> str:
    try:
        return stack.flask("doctor")
    except RuntimeError as error:
        return str(error)


def _recount(stack: Stack) -> None:
    """Return how many people there are: some requests got no answer, so their rows may or may not exist."""
    with stack.sql() as database:
        found = database.execute(
            "select coalesce(max(substring(email from '[0-9]+')::int), 0) from contact where email ~ '^(odd|even)[0-9]'"
        ).fetchone()
    assert found is not None
    stack.people = found[0]


@contextmanager
def _small_disk(stack: Stack) -> Iterator[Path]:
    """Move PostgreSQL, with its log of changes, to a file system with little room. Raises Skipped."""
    data, kept = stack.folder / "postgres", stack.folder / "postgres.kept"
    stack.stop_postgres()
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
        stack.ensure_servers()
        yield data
    finally:
        stack.stop()
        stack.stop_postgres()
        subprocess.run(["umount", str(data)], check=True)


def collisions(stack: Stack, *, seed: int, kills: int) -> Done:
    """Real deadlocks in the web and in a worker, and an hour's mail with every transaction serializable."""
    _deadlock_in_the_web(stack)
    _deadlock_in_a_worker(stack)
    with stack.sql() as database:
        database.execute("alter database postgres set default_transaction_isolation = 'serializable'")
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
        )
    end = stack.crowd(workers=3)
    with WebTraffic(stack, at_once=4) as traffic:
        for _ in range(10):
            people(stack, 40)
            broadcast(stack, 40)
            stack.ring()
            time.sleep(0.3)
    traffic.check()
    assert traffic.failures == [], traffic.failures
    verdict = finish(stack)
    end()
    with stack.sql() as database:
        database.execute("alter database postgres reset default_transaction_isolation")
    wait_until(lambda: _deadlocks(stack) >= 2, seconds=15, what="two deadlocks to be counted")
    again = len(re.findall(r"request\.again|database\.again|\"error\": \"OperationalError", stack.logs()))
    return (
        f"{_deadlocks(stack)} deadlocks, {again} collisions tried again, {len(traffic.answered)} contact requests",
        verdict,
    )


def _deadlocks(stack: Stack) -> int:
    with stack.sql() as database:
        found = database.execute("select deadlocks from pg_stat_database where datname = current_database()")
        (deadlocks,) = found.fetchone() or (0,)
    return int(deadlocks)


def _deadlock_in_the_web(stack: Stack) -> None:
    """Release takes the control row, then an alert's; we hold the alert's and then want the control row."""
    desk = StaffSession(stack)
    with stack.sql() as database:
        database.execute(
            "insert into alert (key, level, text, raised_at) values ('provider-key', 'danger', 'chaos', now())"
        )
    with _patient(stack) as ours, ThreadPoolExecutor(1) as beside:
        ours.execute("select 1 from alert where key = 'provider-key' for update")
        released = beside.submit(desk.post, "/console/mail/release")
        _until_somebody_waits(stack)
        ours.execute("select 1 from sending_control for update")  # the web is undone, and tries again
        ours.execute("commit")
        released.result()  # raises where the answer was no yes
    with stack.sql() as database:
        found = database.execute(
            "select closed_at is not null from alert where key = 'provider-key'"
        ).fetchone()
    assert found == (True,)


def _deadlock_in_a_worker(stack: Stack) -> None:
    """A 429 is recorded on the batch, then on the control row; we hold the latter, and then want the former."""
    slow = [
        {"kind": "delay", "seconds": 2, "times": 1},
        {"kind": "rate_limit", "reset_in": 1, "times": 1},
    ]
    requests.put(f"{stack.sandbox_url}/sandbox/faults", json={"faults": slow}, timeout=5)
    people(stack, 10)
    stack.ring()
    sending = "select id from batch where state = 'sending'"

    def under_way() -> bool:
        with stack.sql() as database:
            return database.execute(sending).fetchone() is not None

    wait_until(under_way, seconds=20, what="a batch to be under way", pause=0.02)
    with _patient(stack) as ours:
        ours.execute("select 1 from sending_control for update")
        _until_somebody_waits(stack, "greatest(throttled_until")
        ours.execute(f"{sending} for update")  # the worker is undone, and tries again
        ours.execute("commit")


@contextmanager
def _patient(stack: Stack) -> Iterator[psycopg.Connection]:
    """A transaction that leaves it to others to find a deadlock."""
    with psycopg.connect(stack.database_url.replace("+psycopg", "")) as connection:
        connection.execute("set deadlock_timeout = '1min'")
        yield connection


def _until_somebody_waits(stack: Stack, what: str = "") -> None:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ilike '%%' || %s || '%%'"

    def waits() -> bool:
        with stack.sql() as database:
            return database.execute(query, [what]).fetchone() != (0,)

    wait_until(waits, seconds=20, what=f"somebody to wait for a lock {what}")
