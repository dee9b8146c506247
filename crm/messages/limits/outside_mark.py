"""The high-water mark outside the database: the number of the newest claim, in Redis and in a file.

A database that is put back in an older state takes all its own marks back with it. This one stays. Either place may be
lost: the other one knows. Numbers are kept per database and only ever rise.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

KEY = "sending:mark"  # a sorted set: database -> number
_LONGEST = 65_536  # bytes of the file that are read


@dataclass(frozen=True, kw_only=True)
class OutsideMark:
    """Both places of the mark: Redis, and a file that is shared by the processes of one machine."""

    redis: Redis
    path: Path

    def read(self) -> dict[str, int]:
        """Return the number per database: the higher of both places, without those that neither place holds."""
        found = self._in_file()
        for database, number in self._in_redis().items():
            found[database] = max(number, found.get(database, number))
        return found

    def raise_to(self, database: str, number: int) -> bool:
        """Raise the number of a database, never lower it; return whether at least one place holds it now."""
        in_file = self._raise_in_file(database, number)
        return self._raise_in_redis(database, number) or in_file

    def file_is_writable(self) -> bool:
        """Tell whether this process may write the file, or create it where it is missing."""
        place = next(place for place in (self.path, *self.path.parents) if place.exists())
        fits = place.is_file() if place == self.path else place.is_dir()
        return fits and os.access(place, os.R_OK | os.W_OK)

    def _in_redis(self) -> Mapping[str, int]:
        try:
            found: Any = self.redis.zrange(KEY, 0, -1, withscores=True)
        except RedisError:
            return {}
        return {database.decode(): int(number) for database, number in found}

    def _raise_in_redis(self, database: str, number: int) -> bool:
        try:
            self.redis.zadd(KEY, {database: number}, gt=True)
        except RedisError as error:
            log.warning("sending_mark.redis_away", error=type(error).__name__)
            return False
        return True

    def _in_file(self) -> dict[str, int]:
        try:
            with _locked(self.path, os.O_RDONLY, fcntl.LOCK_SH) as file:
                return _parsed(os.pread(file, _LONGEST, 0))
        except OSError:
            return {}

    def _raise_in_file(self, database: str, number: int) -> bool:
        """Write the file in place: one write of some bytes is whole or absent after a kill, and needs no disk space."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as file:
                known = _parsed(os.pread(file, _LONGEST, 0))
                if known.get(database, -1) < number:
                    content = json.dumps({**known, database: number}).encode() + b"\n"
                    os.pwrite(file, content, 0)
                    os.ftruncate(file, len(content))
        except OSError as error:
            log.warning("sending_mark.file_unwritable", error=error.strerror)
            return False
        return True


@contextmanager
def _locked(path: Path, flags: int, lock: int) -> Iterator[int]:
    """Open the file and lock it against other processes. Raises OSError."""
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, lock)
        yield file
    finally:
        os.close(file)


def _parsed(content: bytes) -> dict[str, int]:
    """Return the numbers in a file's content; a file that is empty or damaged holds none."""
    try:
        found = json.loads(content)
        return {str(database): int(number) for database, number in found.items()}
    except (ValueError, AttributeError, TypeError):
        return {}
