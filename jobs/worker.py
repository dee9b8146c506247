"""The processes that do the work: RQ workers that build the app once, and RQ's cron scheduler over our table."""

import gc
import os
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.cron import CronJob, CronScheduler
from rq.exceptions import DeserializationError
from rq.job import Job
from rq.serializers import JSONSerializer

from crm.audit.service import acting
from crm.core import queue
from crm.core.db import db
from crm.core.flask_app import CrmApp
from jobs import context
from jobs.schedule import PERIODIC

log = structlog.get_logger()

LEAD_KEY = "scheduler:lead"
LEAD_SECONDS = 15


class Worker(SimpleWorker):
    """Works jobs in this process: no fork, no import per job. A job that hangs is ended by its timeout."""

    def perform_job(self, job: Job, queue: Any, execution: Any) -> bool:
        """Run one job inside a fresh app context, on behalf of the system."""
        with context.app().app_context(), acting("system"):
            try:
                return super().perform_job(job, queue, execution)
            finally:
                db.session.remove()

    def handle_job_failure(self, job: Job, queue: Any, *rest: Any, **named: Any) -> None:
        """Keep the kind of an error and its place; a traceback in Redis could hold a person's data."""
        kind, _, trace = sys.exc_info()
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" at {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else ""
        named["exc_string"] = f"{kind.__name__ if kind else 'Error'}{place}"
        log.error("job.failed", job=_name(job), error=named["exc_string"])
        super().handle_job_failure(job, queue, *rest[:1], **named)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """RQ's own handler would log the whole traceback; `handle_job_failure` has said what is safe to say."""


def _name(job: Job) -> str:
    """Return what a job is called; another version's may be written in a way that we cannot read."""
    try:
        return str(job.func_name)
    except DeserializationError:
        return "unreadable"


def work(app: CrmApp, *, queues: tuple[str, ...] = queue.QUEUES, burst: bool = False) -> None:
    """Work these queues, most urgent first, until told to stop.

    Whatever else ends RQ's loop, Redis going away or a job it stumbles over, is survived: it begins anew.
    """
    context.use(app)
    gc.freeze()  # what is there by now stays; looking through it again and again costs more than a batch of mail
    gc.set_threshold(50_000, 20, 50)
    while not _work(queues, burst=burst):
        time.sleep(1)


def _work(queues: tuple[str, ...], *, burst: bool) -> bool:
    """Be one worker of RQ's; return whether that was all, rather than an accident."""
    worker = None
    try:
        worker = Worker(
            [queue.queue(name) for name in queues],
            connection=queue.redis(),
            serializer=JSONSerializer,
            name=f"{socket.gethostname()}-{os.getpid()}-{time.monotonic_ns()}",
            disable_default_exception_handler=False,
        )
        worker.work(burst=burst, logging_level="WARNING", with_scheduler=False)
        if burst:
            return True
    except RedisError as error:
        log.warning("worker.redis_away", error=type(error).__name__)
    return worker is not None and worker._shutdown_requested_date is not None


class PeriodicJob(CronJob):
    """A line of our table, queued by our own door: as JSON, by name, at most one waiting."""

    def __init__(self, name: str, *, interval: int) -> None:
        super().__init__(queue.JOBS[name].queue, func_name=f"jobs.{name}", interval=interval, name=name)

    def enqueue(self, connection: Any) -> Job:
        queue.push([(self.name, (), None)])
        return Job(connection=connection)  # nobody looks at it


class Scheduler(CronScheduler):
    """RQ's scheduler; of several, the one that holds the lead in Redis queues the jobs."""

    _leading = False

    def enqueue_jobs(self) -> list[CronJob]:
        """Queue what is due, while leading."""
        self._leading = False
        try:
            self._leading = self._leads()
            return super().enqueue_jobs() if self._leading else []
        except RedisError as error:
            self._leading = False
            log.warning("scheduler.redis_away", error=type(error).__name__)
            return []

    def calculate_sleep_interval(self) -> float:
        """Look every second, so that a lead that was lost is soon taken over; what is overdue is no reason to spin."""
        return min(super().calculate_sleep_interval(), 1.0) if self._leading else 1.0

    def heartbeat(self) -> None:
        """Say that we live, while there is somebody to tell."""
        try:
            super().heartbeat()
        except RedisError as error:
            log.warning("scheduler.redis_away", error=type(error).__name__)

    def save(self, pipeline: Any = None) -> None:
        """Keep RQ's own record of the schedule, while there is somebody to tell."""
        try:
            super().save(pipeline)
        except RedisError as error:
            log.warning("scheduler.redis_away", error=type(error).__name__)

    def register_death(self, pipeline: Any = None) -> None:
        """Say goodbye, if there is somebody to tell; else RQ forgets us by itself."""
        with suppress(RedisError):
            super().register_death(pipeline)

    def _leads(self) -> bool:
        mine = self.name
        if self.connection.set(LEAD_KEY, mine, nx=True, ex=LEAD_SECONDS):
            return True
        holder = self.connection.get(LEAD_KEY)
        if holder is not None and holder == mine.encode():
            self.connection.expire(LEAD_KEY, LEAD_SECONDS)
            return True
        return False


def schedule(app: CrmApp) -> None:
    """Queue the periodic jobs until told to stop."""
    context.use(app)
    scheduler = Scheduler(queue.redis(), logging_level="WARNING")
    for name, seconds in PERIODIC.items():
        scheduler._cron_jobs.append(PeriodicJob(name, interval=seconds))
    while True:
        try:
            scheduler.start()  # type: ignore[no-untyped-call]
            return
        except RedisError as error:
            log.warning("scheduler.redis_away", error=type(error).__name__)
            time.sleep(1)
