"""Worker process: an RQ worker that builds the app once and runs each job in a fresh app context."""

import gc
import os
import socket
import sys
import time
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.exceptions import DeserializationError
from rq.job import Job
from rq.serializers import JSONSerializer

from crm.audit.service import acting
from crm.core import queue
from crm.core.db import db
from crm.core.flask_app import CrmApp
from crm.ops import job_failures

log = structlog.get_logger()

MAINTENANCE_EVERY = 60  # seconds


class Worker(SimpleWorker):
    """An RQ worker that runs jobs in its own process: no fork, no import per job. A timeout ends a job that hangs."""

    app: CrmApp

    def run_maintenance_tasks(self) -> None:
        """Clean RQ's registries, and free what dead workers had in hand.

        RQ would keep such a job until its timeout has passed, and refuse the same job meanwhile.
        """
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]  # RQ has no types here
        for waiting in self.queues:
            started = waiting.started_job_registry.get_job_ids(cleanup=False)
            for job in Job.fetch_many(started, connection=self.connection, serializer=JSONSerializer):
                if job is not None and job.worker_name and self._is_dead(job.worker_name):
                    log.warning("worker.died", job=_name(job))
                    job.delete()

    def _is_dead(self, name: str) -> bool:
        """Tell whether a worker of this machine has ended, or a worker of another machine has no record."""
        here = f"{socket.gethostname()}-"
        if name == self.name:
            return False
        if name.startswith(here):
            return not _runs(int(name.removeprefix(here).split("-")[0]))
        return not self.connection.exists(f"{self.redis_worker_namespace_prefix}{name}")

    def perform_job(self, job: Job, queue: Any, execution: Any) -> bool:
        """Run one job inside a fresh app context, with the system as actor."""
        with self.app.app_context(), acting("system"):
            try:
                for prepare in self.app.before_work:
                    prepare()
                return super().perform_job(job, queue, execution)
            finally:
                db.session.remove()

    def handle_job_failure(self, job: Job, queue: Any, *rest: Any, **named: Any) -> None:
        """Store the type and place of the error only: a traceback in Redis could contain personal data."""
        kind, _, trace = sys.exc_info()
        error = kind.__name__ if kind else "Error"
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" at {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else ""
        named["exc_string"] = f"{error}{place}"
        log.error("job.failed", job=_name(job), error=named["exc_string"])
        db.session.remove()  # what the failed run began must not become part of the alert
        job_failures.count_failure(_name(job), error=error)
        super().handle_job_failure(job, queue, *rest[:1], **named)

    def handle_job_success(self, job: Job, queue: Any, *rest: Any, **named: Any) -> None:
        """End the job's row of failed runs."""
        super().handle_job_success(job, queue, *rest, **named)
        job_failures.count_success(_name(job))

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Do nothing: RQ's handler would log the whole traceback, and `handle_job_failure` has logged what is safe."""


def _runs(pid: int) -> bool:
    """Tell whether another process of this machine has this number."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _name(job: Job) -> str:
    """Return the name of a job, or "unreadable" for one that another version serialized differently."""
    try:
        return str(job.func_name).removeprefix("jobs.")
    except DeserializationError:
        return "unreadable"


def work(app: CrmApp, *, queues: tuple[str, ...] = queue.QUEUES, burst: bool = False) -> None:
    """Run jobs of these queues, most urgent first, until the process is asked to end.

    Runs in an app context of `app`. RQ's loop also ends when Redis is unreachable or a job cannot be read; then it
    starts again.
    """
    gc.freeze()  # collecting what the start loaded, again and again, costs more than a batch of mail
    gc.set_threshold(50_000, 20, 50)
    while not _work(app, queues, burst=burst):
        time.sleep(1)


def _work(app: CrmApp, queues: tuple[str, ...], *, burst: bool) -> bool:
    """Run one RQ worker; return whether it ended on request rather than by an error."""
    worker = None
    try:
        worker = Worker(
            [queue.queue(name) for name in queues],
            connection=queue.redis(),
            serializer=JSONSerializer,
            name=f"{socket.gethostname()}-{os.getpid()}-{time.monotonic_ns()}",
            disable_default_exception_handler=False,
            maintenance_interval=MAINTENANCE_EVERY,
        )
        worker.app = app
        worker.work(burst=burst, logging_level="WARNING", with_scheduler=False)
        if burst:
            return True
    except RedisError as error:
        log.warning("worker.redis_away", error=type(error).__name__)
    return worker is not None and worker._shutdown_requested_date is not None
