"""Job queue: declaring jobs and queuing them. PostgreSQL holds what is due; a sweep requests lost jobs again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException
from sqlalchemy.exc import InterfaceError, OperationalError

from crm.core import current
from crm.core.db import after_commit

log = structlog.get_logger()

URGENT, BULK, EVENTS, LOW = "urgent", "bulk", "events", "low"
QUEUES = (URGENT, EVENTS, BULK, LOW)  # the order in which a worker looks at them

INTERRUPTIONS = (OperationalError, InterfaceError, JobTimeoutException)
"""Errors that the current row did not cause: the database failed, or the job timed out."""
FAILURE_TTL = 24 * 3600  # seconds a failed job stays in Redis to be looked at


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """How one job runs; `job` explains the fields."""

    queue: str
    timeout: int
    twice: bool = False
    every: int | None = None


class JobRequest(NamedTuple):
    """One run of a job: its name, opaque ids, and a key that tells two requests for the same ids apart."""

    name: str
    ids: tuple[int | str, ...] = ()
    key: str | None = None


JOBS: dict[str, JobSpec] = {}
"""Every declared job. Importing the package `jobs` fills it, so each process imports that at its start."""

Entry = TypeVar("Entry", bound=Callable[..., None])


def job(
    *, queue: str, timeout: int, twice: bool = False, every: int | None = None
) -> Callable[[Entry], Entry]:
    """Declare a function of `jobs/<feature>.py` as the job `<feature>.<function>`.

    `queue`: where it waits. `timeout`: the seconds after which a run is ended. `every`: the seconds between two
    runs of a periodic job. `twice`: it may run beside itself, so that a run whose worker died does not block the
    next request. Raises ValueError for an unknown queue, and when two functions claim one name.
    """
    if queue not in QUEUES:
        raise ValueError(f"Queue {queue} not found. Use one of: {', '.join(QUEUES)}.")

    def declare(function: Entry) -> Entry:
        name = f"{function.__module__.removeprefix('jobs.')}.{function.__name__}"
        if name in JOBS:
            raise ValueError(f"Two functions are declared as job {name}.")
        JOBS[name] = JobSpec(queue=queue, timeout=timeout, twice=twice, every=every)
        return function

    return declare


def spec_of(name: str) -> JobSpec:
    """Return how the job `name` runs. Raises KeyError for a name that no function has declared."""
    try:
        return JOBS[name]
    except KeyError:
        hint = "Declare it with @job." if JOBS else "This process has not imported the package jobs."
        raise KeyError(f"Job {name} not found. {hint}") from None


def redis() -> Redis:
    """Return the Redis connection of the running app."""
    return current.services().redis


def queue(name: str, *, connection: Redis | None = None) -> Queue:
    """Return the RQ queue called `name`, with JSON as its format."""
    return Queue(name, connection=connection or redis(), serializer=JSONSerializer)


def enqueue(name: str, *ids: int | str, key: str | None = None) -> None:
    """Queue the job `name` with opaque ids once the running transaction has committed.

    `key` tells two requests for the same ids apart (an attempt number, for example). A request with the same name,
    ids and key as one that still waits adds no second job. Raises KeyError for an unknown name.
    """
    spec_of(name)
    after_commit(partial(push, [JobRequest(name, ids, key)]))


def push(requests: Iterable[JobRequest], *, connection: Redis | None = None) -> None:
    """Queue jobs now, in the running app's Redis or that of `connection`.

    While Redis is unreachable the requests are logged and dropped: the sweep makes them again.
    """
    target = connection or redis()
    try:
        for name, ids, key in requests:
            _push(target, name, ids, key)
    except RedisError as error:
        log.warning("queue.unreachable", error=type(error).__name__)


def _push(
    connection: Redis, name: str, ids: tuple[int | str, ...], key: str | None, *, again: bool = True
) -> None:
    spec = spec_of(name)
    # RQ allows only letters, digits, dash and underscore in an id
    job_id = "-".join(str(part) for part in (name.replace(".", "_"), *ids, key) if part is not None)
    try:
        queue(spec.queue, connection=connection).enqueue_call(
            f"jobs.{name}",
            args=ids,
            timeout=spec.timeout,
            result_ttl=0,
            failure_ttl=FAILURE_TTL,
            description=name,
            job_id=job_id,
            unique=True,
        )
    except DuplicateJobError:
        if again and _clear_failed(connection, job_id):
            _push(connection, name, ids, key, again=False)
        elif again and spec.twice and _status(connection, job_id) is JobStatus.STARTED:
            _push(connection, name, ids, f"{key or ''}next", again=False)


def _status(connection: Redis, job_id: str) -> JobStatus | None:
    try:
        return Job.fetch(job_id, connection=connection, serializer=JSONSerializer).get_status(refresh=False)
    except NoSuchJobError:
        return None


def _clear_failed(connection: Redis, job_id: str) -> bool:
    """Delete a failed job of the same id, which would block the request until it expires."""
    try:
        job = Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
    except NoSuchJobError:
        return True
    if job.get_status(refresh=False) in (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED):
        job.delete()
        return True
    return False
