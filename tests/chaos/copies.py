"""Databases that could send again what was sent: a disk snapshot put back, a data folder started a second time."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from crm.dev import local
from tests.chaos.oracle import arrivals
from tests.chaos.results import Done
from tests.chaos.scenario import broadcast, finish, people, settle
from tests.support import snapshots
from tests.support.stack import Stack, wait_until

_HELD = "select stop_reason from sending_control where stopped_by = 'system'"
_TOLD = "select text from alert where key = 'copied-database' and closed_at is null"
_AS_IF_NOT_SEEN = """
    with closed as (update alert set closed_at = now() where key = 'copied-database' and closed_at is null)
    update sending_control set stopped_at = null, stopped_by = null, stop_reason = null, place = {place}
"""
SENDERS = ("worker1", "worker2", "scheduler")


def snapshot_back(stack: Stack, *, seed: int, kills: int) -> Done:
    """A snapshot of the disk, put back after mail was sent, sends nothing. The newer disk continues without a release."""
    wait_until(lambda: _is_marked(stack), seconds=20, what="the first sweep")
    held = 0
    for mode, lose in (("fast", _lose_file), ("immediate", _empty_redis)):
        settle(stack)
        for name in SENDERS:
            stack.kill(name)
        people(stack, 50)
        snapshots.stop(stack.folder, mode)
        older = snapshots.save(stack.folder, f"older-{mode}")
        stack.ensure()
        people(stack, 1)
        settle(stack)
        lose(stack)  # one place is enough
        before = arrivals(stack)
        snapshots.stop(stack.folder)
        newer = snapshots.put_back(stack.folder, older, keep_as=f"newer-{mode}")
        stack.ensure()
        assert "older than the mail" in _holds(stack)
        assert arrivals(stack) == before, "a database that was put back sent something"
        held += 50
        snapshots.stop(stack.folder)
        snapshots.put_back(stack.folder, newer, keep_as=f"older-{mode}")
        stack.ensure()
        broadcast(stack, 50)
    verdict = finish(stack)
    with stack.sql() as database:
        assert database.execute(_HELD).fetchone() is None, "the newer database was held"
    return f"a snapshot of a stopped and one of a crashed server hold {held} emails that were sent", verdict


def second_instance(stack: Stack, *, seed: int, kills: int) -> Done:
    """A copied data folder, started beside the original with mail in it: it sends nothing, the original all of it."""
    wait_until(lambda: _is_marked(stack), seconds=20, what="the first sweep")
    for name in SENDERS:
        stack.kill(name)
    people(stack, 100)
    snapshots.stop(stack.folder)
    saved = snapshots.save(stack.folder, "copy")
    stack.ensure_servers()
    with _second(stack, saved) as second:
        # in a container, say, where the path is the same: only the marks outside are missing
        with second.sql() as database:
            database.execute(_AS_IF_NOT_SEEN.format(place="current_setting('data_directory')"))
        _start_senders(second)
        _ring(second, 5)
        assert not arrivals(second), "a second instance sent something"
        second.skip(3 / 1_440)  # minutes; another machine could have brought the marks back meanwhile
        assert "lost" in _holds(second)
        stack.ensure()
        with second.sql() as database:
            database.execute(_AS_IF_NOT_SEEN.format(place=f"'{stack.folder / 'postgres'}'"))
        # with the configuration of the original, but for the address of the database
        second.env |= {"LOCAL_DIR": str(stack.folder), "REDIS_URL": stack.redis_url}
        second.redis_url = stack.redis_url
        _start_senders(second)
        assert "copied or moved" in _holds(second)
    assert not stack.runs_not()
    broadcast(stack, 50)
    return "two second instances hold 100 emails that the original sends", finish(stack)


@contextmanager
def _second(stack: Stack, saved: Path) -> Iterator[Stack]:
    """The senders of a second installation: another server from a copy of the data, the same keys and provider."""
    folder = Path(tempfile.mkdtemp(prefix="second-"))
    try:
        for name in ("secrets.json", "clock"):
            if (stack.folder / name).exists():
                shutil.copy(stack.folder / name, folder)
        url = snapshots.second_instance(folder, saved)
        second = Stack(folder, fork_server=stack.fork_server, postgres=url, redis=local.redis_url(folder))
        second.sandbox_url, second.env["SANDBOX_PORT"] = stack.sandbox_url, str(stack.sandbox_port)
        second.commands = {name: second.commands[name] for name in SENDERS}
        yield second
        second.stop()
    finally:
        local.stop_embedded(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _is_marked(stack: Stack) -> bool:
    stack.ring()
    with stack.sql() as database:
        return database.execute("select mark_floor is not null from sending_control").fetchone() == (True,)


def _start_senders(second: Stack) -> None:
    for name in SENDERS:
        if name in second.processes:
            second.kill(name)
        second.start(name)


def _ring(stack: Stack, times: int) -> None:
    for _ in range(times):
        stack.ring()
        time.sleep(1.5)


def _holds(stack: Stack) -> str:
    """Wait until the guard holds this database, and ring some more; return the reason that staff see."""
    told: list[str] = []

    def held() -> bool:
        stack.ring()
        with stack.sql() as database:
            told[:] = [reason for statement in (_HELD, _TOLD) for (reason,) in database.execute(statement)]
        return len(told) == 2

    wait_until(held, seconds=60, what="the database to be held", pause=1)
    _ring(stack, 2)
    assert told[0].removesuffix(" Check, then release.") in told[1]
    return told[0]


def _lose_file(stack: Stack) -> None:
    (stack.folder / "sending-mark.json").unlink()


def _empty_redis(stack: Stack) -> None:
    with Redis.from_url(stack.redis_url) as redis:
        redis.flushall()
