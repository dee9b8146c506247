"""Queuing jobs: one job for repeated requests, dead workers, and what a declaration refuses."""

import pytest
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from crm.core import queue
from jobs.schedule import PeriodicJob, periodic_jobs


@pytest.fixture(autouse=True)
def _running(app):
    with app.app_context():
        yield


@pytest.fixture
def push(redis):
    """Request a job; return how many jobs of all queues wait afterwards."""

    def push(name):
        queue.push([queue.JobRequest(name, (7,))])
        return sum(queue.queue(one).count for one in queue.QUEUES)

    return push


def start(name):
    """Start the job as a worker does that then dies without a trace."""
    started = queue.queue(queue.JOBS[name].queue)
    started.empty()
    job = Job.create(
        f"jobs.{name}",
        args=[7],
        id=f"{name.replace('.', '_')}-7",
        connection=queue.redis(),
        serializer=JSONSerializer,
        status=JobStatus.STARTED,
    )
    job.save()


def test_repeated_request_adds_no_second_job(push):
    assert [push("tracking.apply"), push("tracking.apply")] == [1, 1]


def test_job_that_may_run_twice(push):
    start("tracking.apply")
    assert [push("tracking.apply"), push("tracking.apply")] == [1, 1]


def test_other_job_waits_for_its_worker(push):
    start("interop.work")
    assert push("interop.work") == 0


@pytest.mark.parametrize("name", ["messages.no_such_job", "messages", ""])
def test_unknown_job_is_refused(name, edge, redis):
    with pytest.raises(KeyError, match="not found"):
        queue.enqueue(name)
    with pytest.raises(KeyError, match="not found"):
        queue.push([queue.JobRequest(name)])


def test_error_when_no_jobs_are_imported(monkeypatch):
    monkeypatch.setattr(queue, "JOBS", {})
    with pytest.raises(KeyError, match="has not imported the package jobs"):
        queue.spec_of("messages.deliver")


def test_declaration_gives_name_queue_and_period(monkeypatch):
    monkeypatch.setattr(queue, "JOBS", {})

    def count() -> None: ...

    count.__module__ = "jobs.tests"
    assert queue.job(queue=queue.LOW, timeout=5, twice=True, every=9)(count) is count
    assert {"tests.count": queue.JobSpec(queue="low", timeout=5, twice=True, every=9)} == queue.JOBS
    assert periodic_jobs() == {"tests.count": 9}
    with pytest.raises(ValueError, match="Two functions"):
        queue.job(queue=queue.LOW, timeout=5)(count)


def test_declaration_refuses_an_unknown_queue():
    with pytest.raises(ValueError, match="Queue slow not found"):
        queue.job(queue="slow", timeout=5)


def test_periodic_job_is_queued(redis):
    name, seconds = next(iter(periodic_jobs().items()))
    PeriodicJob(name, interval=seconds).enqueue(redis)
    spec = queue.JOBS[name]
    (job_id,) = queue.queue(spec.queue).get_job_ids()
    job = Job.fetch(job_id, connection=redis, serializer=JSONSerializer)
    assert (job.func_name, list(job.args), job.timeout) == (f"jobs.{name}", [], spec.timeout)
