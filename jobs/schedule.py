"""Scheduler process: RQ's cron scheduler over the jobs declared with `every`. Of several schedulers, one leads."""

import time
from contextlib import suppress
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq.cron import CronJob, CronScheduler
from rq.job import Job

from crm.core import queue

log = structlog.get_logger()

LEAD_KEY = "scheduler:lead"
LEAD_SECONDS = 15


def periodic_jobs() -> dict[str, int]:
    """Return the name of every periodic job with the seconds between two runs."""
    return {name: spec.every for name, spec in queue.JOBS.items() if spec.every is not None}


class PeriodicJob(CronJob):
    """A periodic job that is queued through `crm.core.queue`: as JSON, by name, at most one waiting."""

    def __init__(self, name: str, *, interval: int) -> None:
        super().__init__(queue.spec_of(name).queue, func_name=f"jobs.{name}", interval=interval, name=name)

    def enqueue(self, connection: Any) -> Job:
        queue.push([queue.JobRequest(self.name)])
        return Job(connection=connection)  # RQ wants a job back and does not read it


class Scheduler(CronScheduler):
    """RQ's scheduler; only the one that holds the lead key in Redis queues jobs."""

    _leading = False

    def enqueue_jobs(self) -> list[CronJob]:
        """Queue the due jobs while this scheduler leads."""
        self._leading = False
        try:
            self._leading = self._leads()
            return super().enqueue_jobs() if self._leading else []
        except RedisError as error:
            self._leading = False
            log.warning("scheduler.redis_away", error=type(error).__name__)
            return []

    def calculate_sleep_interval(self) -> float:
        """Return at most one second, so that a lost lead is taken over soon, and one second while not leading."""
        return min(super().calculate_sleep_interval(), 1.0) if self._leading else 1.0

    def heartbeat(self) -> None:
        """Renew RQ's record of this scheduler, if Redis is reachable."""
        try:
            super().heartbeat()
        except RedisError as error:
            log.warning("scheduler.redis_away", error=type(error).__name__)

    def save(self, pipeline: Any = None) -> None:
        """Store RQ's record of the schedule, if Redis is reachable."""
        try:
            super().save(pipeline)
        except RedisError as error:
            log.warning("scheduler.redis_away", error=type(error).__name__)

    def register_death(self, pipeline: Any = None) -> None:
        """Deregister, if Redis is reachable; otherwise the record in RQ expires."""
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


def run() -> None:
    """Queue the periodic jobs of the running app until the process is asked to end."""
    scheduler = Scheduler(queue.redis(), logging_level="WARNING")
    for name, seconds in periodic_jobs().items():
        scheduler._cron_jobs.append(PeriodicJob(name, interval=seconds))
    while True:
        try:
            scheduler.start()  # type: ignore[no-untyped-call]
            return
        except RedisError as error:
            log.warning("scheduler.redis_away", error=type(error).__name__)
            time.sleep(1)
