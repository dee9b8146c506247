"""Failed runs of jobs: how many in a row, the alert from the third one on, and its end.

Redis holds the counts, so that several workers count together; a success costs one round trip and no statement. While
Redis is unreachable each worker counts on its own. The alert stands in the database: an emptied Redis does not end it.
"""

from collections import Counter
from collections.abc import Mapping

import structlog
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from crm.core import queue
from crm.core.db import db, transaction
from crm.staff import alerts
from crm.staff.models import Alert

log = structlog.get_logger()

TO_ALERT = 3  # failed runs in a row
IN_A_ROW = "jobs:failed-in-a-row"  # Redis hash: job -> failed runs since it last succeeded
TOTAL = "jobs:failed"  # Redis hash: job -> failed runs ever
_KEY = "job:"

_in_this_process: Counter[str] = Counter()


def count_failure(name: str, *, error: str) -> None:
    """Count a failed run of the job `name`; from the third in a row on, an alert is open. `error` is its type."""
    _in_this_process[name] += 1
    in_a_row = _in_this_process[name]
    try:
        in_a_row = max(in_a_row, int(queue.redis().hincrby(IN_A_ROW, name, 1)))
        queue.redis().hincrby(TOTAL, name, 1)
    except RedisError as reason:
        log.warning("jobs.redis_away", error=type(reason).__name__)
    if in_a_row < TO_ALERT:
        return
    try:
        with transaction():
            alerts.raise_alert(
                key=f"{_KEY}{name}",
                level="danger",
                text=f"The background job {name} failed {TO_ALERT} times in a row ({error}). Look into the worker's log.",
            )
    except SQLAlchemyError as reason:  # the next failed run raises it
        log.warning("jobs.no_alert", error=type(reason).__name__)


def count_success(name: str) -> None:
    """Reset the count of the job `name` and close its alert, if runs had failed before."""
    failed = _in_this_process.pop(name, 0)
    try:
        failed += int(queue.redis().hdel(IN_A_ROW, name))
    except RedisError as reason:
        log.warning("jobs.redis_away", error=type(reason).__name__)
    if not failed:
        return
    try:
        with transaction():
            alerts.close(f"{_KEY}{name}")
    except SQLAlchemyError as reason:  # `close_ended` closes it
        log.warning("jobs.alert_open", error=type(reason).__name__)


def close_ended() -> None:
    """Close the alerts of jobs without a failed run, such as those whose counts Redis lost. Nothing without Redis."""
    try:
        failing = {_name(field) for field in queue.redis().hkeys(IN_A_ROW)}
    except RedisError:
        return
    for name in failing_jobs().keys() - failing:
        alerts.close(f"{_KEY}{name}")


def failing_jobs() -> Mapping[str, str]:
    """Return job -> text of its open alert, for every job that failed three times in a row."""
    found = db.session.execute(
        select(Alert.key, Alert.text).where(Alert.closed_at.is_(None), Alert.key.startswith(_KEY))
    )
    return {row.key.removeprefix(_KEY): row.text for row in found}


def totals() -> dict[str, int]:
    """Return job -> failed runs ever. Raises RedisError."""
    return {_name(field): int(count) for field, count in queue.redis().hgetall(TOTAL).items()}


def _name(field: bytes | str) -> str:
    return field.decode() if isinstance(field, bytes) else field
