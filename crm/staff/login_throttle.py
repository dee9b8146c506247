"""Slowing down guesses at a password: counted in Redis by blind index, for known and unknown addresses alike.

There is no lock: the wait grows to a quarter of an hour and no further, other networks are not held up before there
are many more failures, and a sign-in link from an administrator works at any time.
"""

import structlog
from redis.exceptions import RedisError

from crm.core import crypto, queue
from crm.staff import rules

log = structlog.get_logger()

FORGET = 24 * 3600  # seconds without a failure after which all is forgotten


def _scopes(email: str, address: str) -> list[tuple[str, int]]:
    """Keys of what is counted, with the tries that are free."""
    who = email.strip().lower()
    found = [(f"{who}\0{address}", rules.FREE_TRIES), (who, rules.FREE_TRIES_ANYWHERE)]
    return [(f"signin:{crypto.blind_index('sign-in', text)[:12].hex()}", free) for text, free in found]


def seconds_left(*, email: str, address: str) -> int:
    """Return how long this account must wait for its next try from this network address; 0: no wait."""
    try:
        left = [queue.redis().ttl(f"{key}:wait") for key, _ in _scopes(email, address)]
    except RedisError as error:
        log.warning("throttle.redis_away", error=type(error).__name__)
        return 0
    return max(0, *(int(seconds) for seconds in left))


def failed(*, email: str, address: str) -> None:
    """Count a failure, and start the wait it costs."""
    try:
        for key, free in _scopes(email, address):
            count = queue.redis().incr(key)
            queue.redis().expire(key, FORGET)
            if wait := rules.wait_after(int(count), free=free):
                queue.redis().set(f"{key}:wait", 1, ex=wait)
    except RedisError as error:
        log.warning("throttle.redis_away", error=type(error).__name__)


def succeeded(*, email: str, address: str) -> None:
    """Forget the failures of this account."""
    try:
        for key, _ in _scopes(email, address):
            queue.redis().delete(key, f"{key}:wait")
    except RedisError as error:
        log.warning("throttle.redis_away", error=type(error).__name__)
