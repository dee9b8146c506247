"""Requests with the hidden field of the contact form filled in: how many came. Robots fill it, and some password managers."""

import structlog
from redis.exceptions import RedisError

from crm.core import queue

FIELD = "website"
_TOTAL = "intake:trapped"

log = structlog.get_logger()


def count() -> None:
    """Count one request."""
    try:
        queue.redis().incr(_TOTAL)
    except RedisError as error:
        log.warning("trap.redis_away", error=type(error).__name__)


def total() -> int:
    """Return how many came so far. Raises RedisError."""
    return int(queue.redis().get(_TOTAL) or 0)
