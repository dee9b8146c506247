"""Yardsticks N and Q: the queue as its documentation leads to use it.

N, the naive best: one job, one call of the sendgrid client, one commit per email; templates from strings; rows through
the ORM; two workers that do not fork. Q: from enqueueing a job that does nothing to its first line, worker idle.
"""

import os
import sys
import time
from typing import Any

import sendgrid
from flask import Flask, render_template_string
from flask_sqlalchemy import SQLAlchemy
from redis import Redis
from rq import Queue, SimpleWorker
from sendgrid.helpers.mail import CustomArg, Mail
from sqlalchemy.orm import Mapped, mapped_column

from tests.bench.limit import HTML
from tests.bench.load import percentile
from tests.bench.servers import Bench

db = SQLAlchemy()
_app = Flask(__name__)  # a worker replaces it with one that knows its database
TEXT = "Hello {{ contact.first_name }} from {{ contact.city }}. {{ link }}"
PAGE = HTML.replace("-name-", "{{ contact.first_name }}").replace("-city-", "{{ contact.city }}")
PAGE = PAGE.replace("-id-", "{{ contact.id }}").replace("-link-", "{{ link }}")


class Contact(db.Model):  # type: ignore[name-defined]
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    first_name: Mapped[str]
    city: Mapped[str]


class Message(db.Model):  # type: ignore[name-defined]
    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(db.ForeignKey("contact.id"))
    status: Mapped[str] = mapped_column(default="queued")
    provider_id: Mapped[str | None]


def make_app(database_url: str) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    db.init_app(app)
    return app


def send(message_id: int) -> None:
    """The job: load, render, call, mark, commit."""
    with _app.app_context():
        message = db.session.get(Message, message_id)
        contact = db.session.get(Contact, message.contact_id)
        link = f"https://clinic.example/u/{message.id}"
        mail = Mail(
            from_email="news@clinic.example",
            to_emails=contact.email,
            subject=render_template_string("News for {{ contact.first_name }}", contact=contact),
            plain_text_content=render_template_string(TEXT, contact=contact, link=link),
            html_content=render_template_string(PAGE, contact=contact, link=link),
        )
        mail.add_custom_arg(CustomArg("pp_msg", str(message.id)))
        answer = sendgrid.SendGridAPIClient("SG.bench", host=os.environ["SENDGRID_HOST"]).send(mail)
        message.status, message.provider_id = "sent", answer.headers["X-Message-Id"]
        db.session.commit()


def nothing() -> float:
    """The job of Q: tell when its first line ran."""
    return time.monotonic()


def measure(bench: Bench, *, recipients: int, workers: int = 2) -> dict[str, Any]:
    """Yardstick N: emails/s and CPU per email, from writing the rows and enqueueing to all sent."""
    with bench.postgres.database() as name:
        url = bench.postgres.database_url(name, sqlalchemy=True)
        app, queue = make_app(url), Queue("bench-naive", connection=bench.redis)
        queue.empty()
        with app.app_context():
            db.create_all()
            people = [
                Contact(email=f"n{n}@example.test", first_name=f"Name{n}", city="City")
                for n in range(recipients)
            ]
            db.session.add_all(people)
            db.session.commit()
            contacts = [person.id for person in people]
            bench.postgres.settle(name)
            bench.sink.reset()
            env = {"BENCH_DATABASE": url, "SENDGRID_HOST": bench.sink.url()}
            command = ("-m", "tests.bench.naive", bench.redis_url, queue.name)
            with bench.running(*[command] * workers, env=env) as processes:
                for process in processes:
                    process.stdout.readline()
                # the starter's own work counts too: it is this process
                pids = [process.pid for process in processes]
                with bench.meter(app=[*pids, os.getpid()]) as meter:
                    began = time.monotonic()
                    messages = [Message(contact_id=contact) for contact in contacts]
                    db.session.add_all(messages)
                    db.session.commit()
                    for message in messages:
                        queue.enqueue(send, message.id)
                    _wait(lambda: db.session.query(Message).filter_by(status="queued").limit(1).count() == 0)
                    finished = time.monotonic()
        bench.sink.expect(recipients)
    return {
        "rate": recipients / (finished - began),
        "cpu_us": meter.total / recipients * 1e6,
        "foreign_cpu": meter.foreign,
    }


def _wait(done: Any, *, patience: float = 600) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        db.session.rollback()
        if done():
            return
        time.sleep(0.05)
    raise TimeoutError("The workers did not finish.")


def measure_queue(bench: Bench, *, jobs: int) -> dict[str, Any]:
    """Yardstick Q: milliseconds from enqueueing to the first line of a job, one idle worker that does not fork."""
    queue = Queue("bench-nothing", connection=bench.redis)
    queue.empty()
    waits = []
    with bench.running(("-m", "tests.bench.naive", bench.redis_url, queue.name)) as (process,):
        process.stdout.readline()
        for _ in range(jobs + 10):
            began = time.monotonic()
            result = queue.enqueue(nothing).latest_result(timeout=10)
            waits.append((result.return_value - began) * 1000)
            time.sleep(0.01)
    del waits[:10]  # the worker's first jobs import what they need
    return {"p50_ms": percentile(waits, 0.5), "p99_ms": percentile(waits, 0.99)}


def work(redis_url: str, queue: str) -> None:
    """Run one worker that does not fork, until it is ended."""
    global _app
    if "BENCH_DATABASE" in os.environ:
        _app = make_app(os.environ["BENCH_DATABASE"])
    worker = SimpleWorker([queue], connection=Redis.from_url(redis_url))
    print("ready", flush=True)
    worker.work(logging_level="WARNING")


if __name__ == "__main__":
    from tests.bench import naive  # jobs are found by this name, not as part of `__main__`

    naive.work(sys.argv[1], sys.argv[2])
