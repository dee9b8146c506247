"""Asking for a job. The database is the truth and Redis a bell: what a lost bell leaves undone, a sweep finds."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from crm.core.db import after_commit

log = structlog.get_logger()

URGENT, BULK, EVENTS, LOW = "urgent", "bulk", "events", "low"
QUEUES = (URGENT, EVENTS, BULK, LOW)  # the order in which a worker looks at them

FAILURE_TTL = 24 * 3600  # seconds a failed job stays in Redis to be looked at


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One kind of job: where it waits and how long it may take (seconds).

    `twice`: it may run beside itself, so that one whose worker died does not stand in the way of the next wish.
    """

    queue: str
    timeout: int
    twice: bool = False


JOBS: dict[str, JobSpec] = {
    "messages.deliver_now": JobSpec(queue=URGENT, timeout=60, twice=True),
    "messages.deliver": JobSpec(queue=BULK, timeout=60, twice=True),
    "messages.sweep": JobSpec(queue=URGENT, timeout=60, twice=True),
    "messages.check_rates": JobSpec(queue=LOW, timeout=120),
    "messages.tell_staff": JobSpec(queue=LOW, timeout=60),
    "campaigns.freeze": JobSpec(queue=BULK, timeout=300),
    "campaigns.look_after": JobSpec(queue=LOW, timeout=60),
    "sequences.release": JobSpec(queue=LOW, timeout=60),
    "sequences.plan": JobSpec(queue=BULK, timeout=300),
    "tracking.apply": JobSpec(queue=EVENTS, timeout=120, twice=True),
    "tracking.reconcile": JobSpec(queue=LOW, timeout=1800),
    "tracking.sweep": JobSpec(queue=EVENTS, timeout=60, twice=True),
    "leads.escalate": JobSpec(queue=LOW, timeout=300),
    "leads.bulk": JobSpec(queue=LOW, timeout=600),
    "leads.look_after": JobSpec(queue=LOW, timeout=60),
    "content.look_after": JobSpec(queue=LOW, timeout=120),
    "content.try_out": JobSpec(queue=URGENT, timeout=60),
    "referrers.digest": JobSpec(queue=LOW, timeout=300),
    "interop.work": JobSpec(queue=LOW, timeout=3600),
    "interop.export": JobSpec(queue=LOW, timeout=1800),
    "interop.referrals": JobSpec(queue=LOW, timeout=1800),
    "interop.look_after": JobSpec(queue=LOW, timeout=120),
    "watch.look": JobSpec(queue=LOW, timeout=60),
    "privacy.purge": JobSpec(queue=LOW, timeout=1800),
    "audit.seal": JobSpec(queue=LOW, timeout=120),
}

JobRequest = tuple[str, tuple[int | str, ...], str | None]  # name, ids, key

_redis: Redis | None = None


def connect(redis: Redis) -> None:
    """Use this connection for all queues of the process."""
    global _redis
    _redis = redis


def redis() -> Redis:
    """Return the process's Redis connection."""
    if _redis is None:
        raise RuntimeError("No Redis connection has been set.")
    return _redis


def queue(name: str) -> Queue:
    """Return the RQ queue called `name`, speaking JSON."""
    return Queue(name, connection=redis(), serializer=JSONSerializer)


def enqueue(name: str, *ids: int | str, key: str | None = None) -> None:
    """Ask for the job `name` with opaque ids, once the running transaction has committed.

    `key` tells one wish from the next of the same ids (an attempt number, say); two wishes with the same name,
    ids and key while the first still waits are one job.
    """
    if name not in JOBS:
        raise KeyError(f"No job is called {name}.")
    after_commit(partial(push, [(name, ids, key)]))


def push(wishes: Iterable[JobRequest]) -> None:
    """Queue jobs now. Redis being away is logged and survived: the sweep asks again."""
    try:
        for name, ids, key in wishes:
            _push(name, ids, key)
    except RedisError as error:
        log.warning("queue.unreachable", error=type(error).__name__)


def _push(name: str, ids: tuple[int | str, ...], key: str | None, *, again: bool = True) -> None:
    spec = JOBS[name]
    # RQ allows only letters, digits, dash and underscore in an id
    job_id = "-".join(str(part) for part in (name.replace(".", "_"), *ids, key) if part is not None)
    try:
        queue(spec.queue).enqueue_call(
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
        if again and _clear_failed(job_id):
            _push(name, ids, key, again=False)
        elif again and spec.twice and _status(job_id) is JobStatus.STARTED:
            _push(name, ids, f"{key or ''}next", again=False)


def _status(job_id: str) -> JobStatus | None:
    try:
        return Job.fetch(job_id, connection=redis(), serializer=JSONSerializer).get_status(refresh=False)
    except NoSuchJobError:
        return None


def _clear_failed(job_id: str) -> bool:
    """Drop a failed namesake, which would otherwise stand in the way until it expires."""
    try:
        job = Job.fetch(job_id, connection=redis(), serializer=JSONSerializer)
    except NoSuchJobError:
        return True
    if job.get_status(refresh=False) in (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED):
        job.delete()
        return True
    return False
