"""The number outside the database, in a real Redis and a real file: it only rises, and one place is enough."""

import json
import multiprocessing
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from crm.messages.limits.outside_mark import KEY, OutsideMark

NEVER = Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))


@pytest.fixture
def mark(redis, tmp_path) -> OutsideMark:
    return OutsideMark(redis=redis, path=tmp_path / "kept" / "mark.json")


def test_nothing_is_known_at_first(mark):
    assert mark.read() == {}
    assert not mark.path.exists()  # looking leaves no trace


def test_each_database_has_a_number_that_only_rises(mark):
    for database, number in (("a/1", 7), ("b/2", 3), ("a/1", 5), ("a/1", 9)):
        assert mark.raise_to(database, number)
    assert mark.read() == {"a/1": 9, "b/2": 3}
    assert json.loads(mark.path.read_text()) == {"a/1": 9, "b/2": 3}


def test_numbers_of_microseconds_are_kept_exactly(mark):
    number = 1_772_557_200_000_001
    mark.raise_to("a/1", number)
    assert mark.read() == {"a/1": number}
    mark.path.unlink()
    assert mark.read() == {"a/1": number}


def test_an_emptied_redis_is_filled_from_the_file(mark, redis):
    mark.raise_to("a/1", 7)
    redis.flushall()
    assert mark.read() == {"a/1": 7}
    mark.raise_to("a/1", 7)
    assert redis.zscore(KEY, "a/1") == 7


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"{", b"[1]", b'{"a/1": "x"}', b"7"])
def test_a_damaged_file_counts_as_missing(mark, redis, content):
    mark.raise_to("a/1", 7)
    mark.path.write_bytes(content)
    assert mark.read() == {"a/1": 7}  # Redis knows
    redis.flushall()
    assert mark.read() == {}
    mark.raise_to("a/1", 8)
    assert json.loads(mark.path.read_text()) == {"a/1": 8}


def test_the_higher_place_counts(mark, redis):
    mark.raise_to("a/1", 7)
    redis.zadd(KEY, {"a/1": 9})
    assert mark.read() == {"a/1": 9}
    redis.zadd(KEY, {"a/1": 5})
    assert mark.read() == {"a/1": 7}


def test_redis_away_leaves_the_file(tmp_path):
    mark = OutsideMark(redis=NEVER, path=tmp_path / "mark.json")
    assert mark.raise_to("a/1", 7)
    assert mark.read() == {"a/1": 7}


def test_a_file_that_cannot_be_written_leaves_redis(redis, tmp_path):
    (tmp_path / "mark.json").mkdir()
    mark = OutsideMark(redis=redis, path=tmp_path / "mark.json")
    assert mark.raise_to("a/1", 7)
    assert mark.read() == {"a/1": 7}


def test_with_neither_place_it_says_so(tmp_path):
    (tmp_path / "mark.json").mkdir()
    mark = OutsideMark(redis=NEVER, path=tmp_path / "mark.json")
    assert not mark.raise_to("a/1", 7)
    assert mark.read() == {}


def test_a_redis_that_refuses_writes_is_no_place(mark, redis):
    redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(RedisError):
            redis.zadd(KEY, {"a/1": 7})
        assert mark.raise_to("a/1", 7)
    finally:
        redis.execute_command("REPLICAOF", "NO", "ONE")
    assert json.loads(mark.path.read_text()) == {"a/1": 7}


def test_the_file_says_whether_it_can_be_written(tmp_path):
    def writable(path: Path) -> bool:
        return OutsideMark(redis=NEVER, path=path).file_is_writable()

    (tmp_path / "there.json").write_text("{}")
    assert writable(tmp_path / "there.json")
    assert writable(tmp_path / "new" / "folder" / "mark.json")
    assert not writable(tmp_path)
    assert not writable(tmp_path / "there.json" / "mark.json")


def _raise_many(path, start):
    mark = OutsideMark(redis=NEVER, path=path)
    for number in range(start, 400, 4):
        mark.raise_to("a/1", number)
        assert mark.read()["a/1"] >= number


def test_processes_share_one_file(tmp_path):
    path = tmp_path / "mark.json"
    workers = [
        multiprocessing.get_context("fork").Process(target=_raise_many, args=(path, start))
        for start in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert json.loads(path.read_text()) == {"a/1": 399}
