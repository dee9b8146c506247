"""One job for two wishes, and a worker that died does not stand in the way of the next."""

import pytest
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from crm.core import queue


@pytest.fixture
def wish(redis):
    """Ask for a job; return how many of all queues wait afterwards."""

    def ask(name):
        queue.push([(name, (7,), None)])
        return sum(queue.queue(one).count for one in queue.QUEUES)

    return ask


def begin(name):
    """Take the job as a worker does that is never heard of again."""
    taken = queue.queue(queue.JOBS[name].queue)
    taken.empty()
    raised = Job.create(
        f"jobs.{name}",
        args=[7],
        id=f"{name.replace('.', '_')}-7",
        connection=queue.redis(),
        serializer=JSONSerializer,
        status=JobStatus.STARTED,
    )
    raised.save()


def test_two_wishes_while_the_first_waits_are_one_job(wish):
    assert [wish("tracking.apply"), wish("tracking.apply")] == [1, 1]


def test_what_may_run_beside_itself_is_asked_for_again_once(wish):
    begin("tracking.apply")
    assert [wish("tracking.apply"), wish("tracking.apply")] == [1, 1]


def test_anything_else_waits_until_its_worker_is_given_up(wish):
    begin("interop.work")
    assert wish("interop.work") == 0
