"""Jobs that fail: three times in a row raise one alert, a success ends it, with Redis and without."""

import os
import socket
import subprocess
import sys

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from sqlalchemy import select

from crm.core import queue
from crm.core.db import db, transaction
from crm.ops import doctor, job_failures
from crm.staff import alerts
from crm.staff.models import Alert
from jobs import messages, watch
from jobs.worker import Worker
from tests.ops.test_metrics import read


class Secret(Exception):
    """An error whose text is personal."""


@pytest.fixture
def run(app, database, redis, monkeypatch):
    """Run a job through a real worker; `fails` makes it raise."""

    def fail(*_ids):
        raise Secret("ana@patients.example")

    def succeed(*_ids):
        pass

    def run(name="watch.look", *ids, fails):
        job = fail if fails else succeed
        monkeypatch.setattr(
            {"watch.look": watch, "messages.deliver_now": messages}[name], name.split(".")[1], job
        )
        with app.app_context():
            queue.push([queue.JobRequest(name, ids)], connection=redis)
        worker = Worker(
            [queue.queue(one) for one in queue.QUEUES], connection=redis, serializer=JSONSerializer
        )
        worker.app = app
        worker.work(burst=True, logging_level="CRITICAL")

    yield run
    for name in ("watch.look", "messages.deliver_now"):
        job_failures.count_success(name)


def open_alerts() -> list[str]:
    with transaction():
        return list(db.session.scalars(select(Alert.text).where(Alert.closed_at.is_(None))))


@pytest.mark.parametrize(("name", "ids"), [("watch.look", ()), ("messages.deliver_now", (7,))])
def test_third_failure_raises_one_alert_and_success_closes_it(run, client, name, ids):
    run(name, *ids, fails=True)
    run(name, *ids, fails=True)
    assert open_alerts() == []
    run(name, *ids, fails=True)
    run(name, *ids, fails=True)
    (text,) = open_alerts()
    assert name in text
    assert "Secret" in text
    assert "ana@" not in text
    found = read(client)
    assert found["crm_jobs_failing"] == 1
    assert found[f'crm_job_failures_total{{job="{name}"}}'] == 4
    run(name, *ids, fails=False)
    assert open_alerts() == []
    assert read(client)["crm_jobs_failing"] == 0


def test_success_between_starts_the_count_again(run):
    for fails in (True, True, False, True, True):
        run(fails=fails)
    assert open_alerts() == []


def test_another_job_does_not_end_it(run):
    for _ in range(3):
        run(fails=True)
    run("messages.deliver_now", 7, fails=False)
    assert len(open_alerts()) == 1


def test_doctor_shows_it(run, app):
    for _ in range(3):
        run(fails=True)
    with transaction():
        found = [one for one in doctor.examine(app.settings) if one.code == "jobs"]
    assert [one.level for one in found] == ["problem"]
    assert "watch.look" in found[0].text


def test_alert_ends_after_redis_was_emptied(run, redis):
    for _ in range(3):
        run(fails=True)
    with transaction():
        job_failures.close_ended()
    assert len(open_alerts()) == 1
    redis.flushdb()
    with transaction():
        job_failures.close_ended()
    assert open_alerts() == []


def test_counting_goes_on_without_redis(run, app, client, redis):
    app.services.redis = Redis(port=1)  # nothing listens there
    try:
        for _ in range(3):
            job_failures.count_failure("watch.look", error="Secret")
        assert len(open_alerts()) == 1
        with transaction():
            job_failures.close_ended()  # unknown, so it stays
        assert len(open_alerts()) == 1
        assert read(client)["crm_jobs_failing"] == 1
        job_failures.count_success("watch.look")
        assert open_alerts() == []
    finally:
        app.services.redis = redis


def test_closing_by_hand_lasts_until_the_next_failure(run):
    for _ in range(3):
        run(fails=True)
    with transaction():
        alerts.close("job:watch.look")
    run(fails=True)
    assert len(open_alerts()) == 1


def test_what_a_killed_worker_had_in_hand_is_free_again(run, redis):
    """RQ keeps a job whose worker was killed as running, and would refuse the same job until its timeout has passed."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid, state in ((ended.pid, None), (os.getppid(), JobStatus.STARTED)):
        queue.push([queue.JobRequest("watch.look")], connection=redis)
        [job_id] = queue.queue(queue.LOW, connection=redis).get_job_ids()
        killed = Worker(
            [queue.queue(queue.LOW, connection=redis)], connection=redis, serializer=JSONSerializer,
            name=f"{socket.gethostname()}-{pid}-1",
        )  # fmt: skip
        job = Job.fetch(job_id, connection=redis, serializer=JSONSerializer)
        queue.queue(queue.LOW, connection=redis).remove(job)
        killed.prepare_execution(job)
        killed.prepare_job_execution(job)
        queue.push([queue.JobRequest("watch.look")], connection=redis)
        assert queue.queue(queue.LOW, connection=redis).get_job_ids() == []
        run("messages.deliver_now", 7, fails=False)  # a worker that starts frees it
        assert queue._status(redis, job_id) == state
