"""Liveness of one process on this machine, for HEALTHCHECK: `python -m crm.ops.alive web|worker|scheduler`.

Loads neither the app nor its packages, so it costs little every half minute. Exit status 1 when the process does not
answer, or when Redis has heard nothing of it for minutes.
"""

import socket
import sys
import urllib.request
from collections.abc import Iterable

from redis import Redis
from redis.exceptions import RedisError

from crm.core import config

USAGE = "Usage: python -m crm.ops.alive web|worker|scheduler"


def is_alive(process: str, *, settings: config.Settings, host: str) -> bool:
    """Tell whether the web process of this machine answers, or a worker or scheduler on `host` has renewed its record."""
    if process == "web":
        return _answers(f"http://127.0.0.1:{settings.port}/health/live")
    with Redis.from_url(settings.redis_url or "", socket_timeout=5) as redis:
        return any(redis.exists(key) for key in _records(process, redis, host))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except OSError:
        return False


def _records(process: str, redis: Redis, host: str) -> Iterable[str]:
    """Return the keys under which RQ keeps the records of this machine's processes; they expire without a heartbeat."""
    if process == "worker":
        names: set[bytes] = redis.smembers("rq:workers")  # type: ignore[assignment]
        return [name.decode() for name in names if name.startswith(f"rq:worker:{host}-".encode())]
    schedulers: list[bytes] = redis.zrange("rq:cron_schedulers", 0, -1)  # type: ignore[assignment]
    return [
        f"rq:cron_scheduler:{name.decode()}" for name in schedulers if name.startswith(f"{host}:".encode())
    ]


def main(arguments: list[str]) -> int:
    """Check the named process of this machine; return the exit status."""
    if len(arguments) != 1 or arguments[0] not in ("web", "worker", "scheduler"):
        sys.stderr.write(f"{USAGE}\n")
        return 2
    try:
        return 0 if is_alive(arguments[0], settings=config.load(), host=socket.gethostname()) else 1
    except (RedisError, config.ConfigError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
