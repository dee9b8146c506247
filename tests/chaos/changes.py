"""What is done to a running installation: restarts, migrations, another version's jobs, copies, long absences."""

import shutil
import signal
import textwrap
import time
from contextlib import suppress

import psycopg
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer, PickleSerializer

from crm.core import queue
from tests.chaos.oracle import arrivals
from tests.chaos.results import Done
from tests.chaos.scenario import broadcast, finish, people
from tests.chaos.traffic import StaffSession, WebTraffic
from tests.support.stack import ROOT, Stack, wait_until

_MIGRATION = """
    import sqlalchemy as sa
    from alembic import op

    revision, down_revision = "chaos", "{head}"

    def upgrade() -> None:
        op.add_column("message", sa.Column("chaos", sa.Text()))
        op.create_index("ix_chaos", "batch", ["created_at"])
"""


def rolling_restart(stack: Stack, *, seed: int, kills: int) -> Done:
    """A new release under load, four times: web, workers and scheduler replaced one after the other, kindly."""
    with WebTraffic(stack) as traffic:
        for _ in range(4):
            for name in ("web", "worker1", "worker2", "scheduler"):
                people(stack, 30)
                broadcast(stack, 30)
                stack.ring()
                if (
                    name == "web"
                ):  # gunicorn's own way: the old ones finish what they have, nobody is turned away
                    stack.processes[name].signal_only(signal.SIGHUP)
                    time.sleep(1.5)
                else:
                    stack.processes[name].signal_only(signal.SIGTERM)
                    stack.processes[name].wait(30)
                    stack.start(name)
    traffic.check()
    assert traffic.failures == [], traffic.failures
    verdict = finish(stack)
    assert verdict.doubted == 0, "a restart left something in doubt"
    return (
        f"everything restarted 4 times, {len(traffic.answered)} contact requests, none turned away",
        verdict,
    )


def migration(stack: Stack, *, seed: int, kills: int) -> Done:
    """A migration that locks the ledger, while mail goes out: it gives up rather than stop the clinic, then succeeds."""
    folder = stack.folder / "migrations"
    shutil.copytree(ROOT / "crm" / "migrations", folder)
    head = stack.flask("db", "heads").split()[0]
    (folder / "versions" / "9999_chaos.py").write_text(textwrap.dedent(_MIGRATION.format(head=head)))
    with WebTraffic(stack) as traffic:
        with psycopg.connect(stack.database_url.replace("+psycopg", "")) as reader:
            reader.execute("select count(*) from message")  # a long report holds it
            people(stack, 50)
            stack.ring()
            with suppress(RuntimeError):
                stack.flask("db", "upgrade", "--directory", str(folder))
                raise AssertionError("the migration did not give up")
        for _ in range(5):
            people(stack, 50)
            broadcast(stack, 50)
            stack.ring()
        stack.flask("db", "upgrade", "--directory", str(folder))
        for _ in range(5):
            people(stack, 50)
            stack.ring()
            time.sleep(0.2)
    traffic.check()
    with stack.sql() as database:
        assert database.execute("select count(chaos) from message").fetchone() == (0,)
    assert traffic.failures == [], traffic.failures
    return f"gave up once after 10 s, then went through, {len(traffic.answered)} contact requests", finish(
        stack
    )


def old_jobs(stack: Stack, *, seed: int, kills: int) -> Done:
    """Jobs of another version, and rubbish, in every queue: no worker is poisoned, and the work is found."""
    people(stack, 100)
    before = {name: process.pid for name, process in stack.processes.items()}
    with Redis.from_url(stack.redis_url) as redis:
        for name in queue.QUEUES:
            _rubbish(redis, name)
    broadcast(stack, 100)
    stack.ring()
    verdict = finish(stack)
    assert stack.runs_not() == []
    assert before == {name: process.pid for name, process in stack.processes.items()}
    with Redis.from_url(stack.redis_url) as redis:
        waiting = [name for name in queue.QUEUES if redis.llen(f"rq:queue:{name}")]
    assert waiting == [], f"still waiting in {waiting}"
    return "renamed, gone, reshaped, pickled and broken jobs in all queues", verdict


def _rubbish(redis: Redis, name: str) -> None:
    ours = Queue(name, connection=redis, serializer=JSONSerializer)
    ours.enqueue_call("jobs.messages.send_batch", args=(1,))  # renamed since
    ours.enqueue_call("jobs.mail.deliver", args=(1,))  # a module that is gone
    ours.enqueue_call("jobs.messages.deliver", args=(1, 2, "x"))  # other arguments
    ours.enqueue_call("jobs.messages.deliver_now", args=("one",), kwargs={"tries": 3})
    ours.enqueue_call("jobs.messages.deliver_now", args=(10**30,))
    ours.enqueue_call("jobs.tracking.apply", args=(None,))
    ours.enqueue_call("os.getpid")
    Queue(name, connection=redis, serializer=PickleSerializer).enqueue_call("jobs.messages.sweep")
    broken = Job.create("jobs.messages.sweep", connection=redis, serializer=JSONSerializer, origin=name)
    broken.save()
    redis.hset(broken.key, "data", b"\x00not a job")
    redis.rpush(f"rq:queue:{name}", broken.id, "no-such-job", b"\xff\xfe")


def copied(stack: Stack, *, seed: int, kills: int) -> Done:
    """A copy of the database, started beside the real provider: nothing leaves until a person releases it."""
    wait_until(lambda: _is_marked(stack), seconds=20, what="the first sweep")
    for name in ("worker1", "worker2", "scheduler", "web"):
        stack.kill(name)
    people(stack, 100)
    before = arrivals(stack)
    clone = f"clone{stack.people}"
    place, _, options = stack.database_url.replace("+psycopg", "").partition("?")
    source, _, rest = place.rpartition("/")[2], None, place.rpartition("/")[0]
    with psycopg.connect(f"{rest}/template1?{options}", autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [source])
        admin.execute(f'create database "{clone}" template "{source}"')
        # The pages of its sequences say "32 numbers ahead are in the log", which is true of the source only: without
        # a checkpoint a crash of the server would give those numbers out a second time.
        admin.execute("checkpoint")
    stack.database_url = stack.env["DATABASE_URL"] = f"{rest}/{clone}?{options}".replace(
        "postgresql:", "postgresql+psycopg:"
    )
    stack.ensure()
    stack.await_servers()
    for _ in range(3):
        broadcast(stack, 50)
        stack.ring()
        time.sleep(1)
    wait_until(lambda: _is_told(stack), seconds=60, what="the alert about the copy")
    assert arrivals(stack) == before, "a copied database sent something"
    StaffSession(stack).post("/console/mail/release")
    return "a cloned database held 250 emails until it was released", finish(stack)


def _is_told(stack: Stack) -> bool:
    stack.ring()
    with stack.sql() as database:
        told = database.execute(
            "select count(*) from alert where key = 'copied-database' and closed_at is null"
        )
        return told.fetchone() == (1,)


def _is_marked(stack: Stack) -> bool:
    stack.ring()
    with stack.sql() as database:
        return database.execute("select instance is not null from sending_control").fetchone() == (True,)


def three_days_off(stack: Stack, *, seed: int, kills: int) -> Done:
    """Everything off for three days and more, with mail in every state: what is too late is listed and does not leave."""
    with stack.sql() as database:
        database.execute(
            "update sending_control set stopped_at = now(), stopped_by = 'chaos', stop_reason = 'chaos'"
        )
    people(stack, 100)
    broadcast(stack, 100)
    with WebTraffic(stack) as traffic:
        wait_until(
            lambda: _ready(stack) >= 3 and len(traffic.answered) > 5, seconds=30, what="mail to be ready"
        )
    before, late = arrivals(stack), stack.people
    for name in list(stack.processes):
        stack.kill(name)
    stack.skip(3.1)
    stack.ensure()
    stack.await_servers()
    StaffSession(stack).post("/console/mail/release")
    people(stack, 50)
    verdict = finish(stack)
    with stack.sql() as database:
        rows = database.execute(
            "select m.id, b.error from message m join batch b on b.id = m.batch_id where b.state = 'failed'"
        ).fetchall()
        unfrozen = database.execute(
            "select coalesce(sum(cardinality(contact_ids)), 0) from batch where state = 'failed' and contact_ids is not null"
        ).fetchone()
    assert {error for _, error in rows} == {"too late to be sent"}, rows[:3]
    listed = len(rows) + int((unfrozen or (0,))[0])
    assert listed >= late, (listed, late)
    assert sum((arrivals(stack) - before).values()) >= 50
    return f"off for three days: {listed} listed as too late", verdict


def _ready(stack: Stack) -> int:
    stack.ring()
    with stack.sql() as database:
        (number,) = database.execute("select count(*) from batch where state = 'ready'").fetchone() or (0,)
    return int(number)
