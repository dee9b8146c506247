"""Our own figures: the real processes on the real servers, measured from the moment a person would press the button."""

import time
from typing import Any

import orjson

from crm.consent import consent_texts
from crm.consent import service as consent
from crm.core.db import transaction
from crm.core.queue import JobRequest
from crm.sequences import planner
from crm.staff.keys import api_keys
from crm.tracking import service as tracking
from tests.bench import load, views
from tests.bench.clinic import Clinic, clinic, now
from tests.bench.machine import MIB, PeakMemory, cpu_seconds
from tests.bench.rows import Values, figure
from tests.bench.servers import Bench

ENROL = """
insert into enrolment (contact_id, sequence_id, version_id, consent_record_id, state, step, due_at, anchor_at,
    entered_at, send_now)
select c.contact_id, s.id, v.id, c.record_id, 'active', mod(c.contact_id, 6), %(due)s, %(due)s::timestamptz - interval '3 days',
    %(due)s::timestamptz - interval '9 days', false
from consent_state c, sequence s join sequence_version v on v.sequence_id = s.id
where s.key = 'contact-request' and c.topic = 'prospect_edu'
"""
DUE = """
select exists (select 1 from enrolment where state = 'active' and due_at <= '{now}')
    or exists (select 1 from batch where state in ('ready', 'sending'))
"""
PART = "insert into contact_tag select id, 'part', now() from contact where email like 'person%' order by id limit 100000"
MESSAGES = """
with one as (insert into batch (kind, stream, transport, content_version_id, language, size, state, created_at,
        not_before, state_at)
    select 'sequence', 'prospect_edu', 'sendgrid', min(id), 'en', 1000, 'accepted', now(), now(), now()
    from content_version returning id)
insert into message (batch_id, contact_id, content_version_id, created_at)
select one.id, c.id, 1, now() from one, contact c where c.email like 'person%' order by c.id
returning id
"""


def _broadcast(bench: Bench, *, people: int, latency: float = 0.0, tls: bool = False) -> Values:
    """Emails/s from the launch to the last batch accepted, and CPU per email."""
    with clinic(bench, people=people, tls=tls) as made, made.workers() as pids:
        bench.sink.reset(latency=latency)
        with PeakMemory(pids[:1]) as first, PeakMemory(pids[1:2]) as second, bench.meter(app=pids) as meter:
            began = time.monotonic()
            made.broadcast()
            finished = made.wait()
        stats = bench.sink.expect(people)
    return {
        "rate": people / (finished - began),
        "cpu_us": meter.total / people * 1e6,
        "postgres_us": meter.spent["postgres"] / people * 1e6,
        "redis_us": meter.spent["redis"] / people * 1e6,
        "foreign_cpu": meter.foreign,
        "first_email_s": stats["first_at"] - began,
        "calls": stats["calls"],
        "worker_mb": max(first.peak, second.peak) / MIB,
    }


@figure("broadcast_100k")
def broadcast(bench: Bench) -> Values:
    """Everything on: consent, suppression, frequency cap, evidence, ledger, audit."""
    return _broadcast(bench, people=bench.size(100_000))


@figure("broadcast_10k")
def small(bench: Bench) -> Values:
    """Start-up counts."""
    return _broadcast(bench, people=10_000)


@figure("broadcast_50ms")
def latency(bench: Bench) -> Values:
    """A provider that takes its time."""
    return _broadcast(bench, people=bench.size(100_000), latency=0.05)


@figure("broadcast_tls")
def tls(bench: Bench) -> Values:
    """Over TLS, the certificate checked."""
    return _broadcast(bench, people=bench.size(100_000), tls=True)


@figure("growth_10k", runs=1)
def growth_small(bench: Bench) -> Values:
    """10,000 people, all of them written to."""
    return _broadcast(bench, people=10_000)


@figure("growth_1m", runs=1)
def growth_large(bench: Bench) -> Values:
    """1,000,000 people, all of them written to."""
    return _broadcast(bench, people=bench.size(1_000_000))


@figure("steps_100k")
def steps(bench: Bench) -> Values:
    """Six steps, two languages, four zones, all due at once."""
    people = bench.size(100_000)
    with clinic(bench, people=people, prepare=_enrol_due) as made, made.workers() as pids:
        bench.sink.reset()
        with bench.meter(app=pids) as meter:
            began = time.monotonic()
            finished = _due_steps(made)
        bench.sink.expect(people)
    return {
        "rate": people / (finished - began),
        "cpu_us": meter.total / people * 1e6,
        "postgres_us": meter.spent["postgres"] / people * 1e6,
    }


def _enrol_due(made: Clinic) -> None:
    made.sql(ENROL, {"due": now()})


def _due_steps(made: Clinic) -> float:
    made.push(JobRequest("sequences.plan", key=f"bench-{time.monotonic_ns()}"))
    return made.wait(statement=DUE.format(now=now()))


@figure("statements", runs=1)
def statements(bench: Bench) -> Values:
    """Statements per email, and beside it with every BEGIN and COMMIT; the log costs time, so nothing is timed here."""
    values: Values = {}
    with clinic(bench, people=10_000) as made, made.workers():
        with bench.postgres.statements(made.name) as seen:
            made.broadcast()
            made.wait(pause=1)
        values |= {"broadcast_10k": seen.work / 10_000, "broadcast_10k_all": seen.total / 10_000}
    people = bench.size(100_000)
    with clinic(bench, people=people, prepare=_enrol_due) as made, made.workers():
        with bench.postgres.statements(made.name) as seen:
            made.push(JobRequest("sequences.plan", key="bench"))
            made.wait(statement=DUE.format(now=now()), pause=1)
        values |= {"steps": seen.work / people, "steps_all": seen.total / people}
    return values


@figure("statements_1m", runs=1)
def statements_large(bench: Bench) -> Values:
    """The same among 1,000,000 contacts, to 100,000 of them chosen by a tag."""
    people = bench.size(1_000_000)
    with clinic(bench, people=people, prepare=lambda made: made.sql(PART)) as made, made.workers():
        bench.sink.reset()
        with bench.postgres.statements(made.name) as seen:
            made.broadcast(tags=["part"])
            made.wait(pause=1)
        bench.sink.expect(min(people, 100_000))
    count = min(people, 100_000)
    return {"broadcast": seen.work / count, "broadcast_all": seen.total / count}


@figure("idle_tick", runs=1)
def idle_tick(bench: Bench) -> Values:
    """Looking for what is due while nothing is, a million waiting: the job's own work, without the queue's."""
    people, ticks = bench.size(1_000_000), 200

    def prepare(made: Clinic) -> None:
        with made.inside():
            made.sql(ENROL.replace("%(due)s", "(now() + interval '300 days')"))

    with clinic(bench, people=people, prepare=prepare) as made, made.app.app_context():
        _ticks(10)
        with bench.postgres.statements(made.name) as seen:
            _ticks(10)
        postgres, own = cpu_seconds([bench.postgres.pid]), time.process_time()
        _ticks(ticks)
        spent = cpu_seconds([bench.postgres.pid]) - postgres + time.process_time() - own
    return {"statements": seen.total / 10, "cpu_ms": spent / ticks * 1000}


def _ticks(count: int) -> None:
    for _ in range(count):
        with transaction():
            if planner.plan_due():
                raise AssertionError("Something was due.")


def _key(made: Clinic) -> dict[str, str]:
    with made.inside():
        _, plain = api_keys.create(name="bench", scopes=["contact-requests:write"])
    return {"Authorization": f"Bearer {plain}", "Content-Type": "application/json"}


def _request(number: int, headers: dict[str, str]) -> bytes:
    body = {
        "first_name": "Ada",
        "last_name": f"Bench {number}",
        "email": f"intake{number}@example.test",
        "phone": f"+1213{2000000 + number}",
        "message": "Please call me in the afternoon.",
        "language": "en",
        "educational_email": True,
        "wording": consent_texts.current("contact-form", "en").name,
    }
    return load.request("/api/v1/contact-requests", orjson.dumps(body), headers=headers)


def _confirmations(made: Clinic, *, count: int, rate: float) -> Values:
    """Ask for `count` confirmations at a steady pace; milliseconds from each answer to the provider's call."""
    bench, headers, answered = made.bench, _key(made), {}
    with bench.gunicorn("wsgi:app", threads=4, env=made.env) as (port, _):
        for number in range(-5, count):
            answered[f"intake{number + 10}@example.test"] = _answered(port, _request(number + 10, headers))
            time.sleep(1 / rate)
        time.sleep(2)
    arrived = bench.sink.arrivals(list(answered))
    waits = [(at - answered[name]) * 1000 for name, at in arrived.items() if at is not None][5:]
    if len(waits) != count:
        raise AssertionError(f"{count - len(waits)} confirmations did not arrive.")
    return {
        "p50_ms": load.percentile(waits, 0.5),
        "p99_ms": load.percentile(waits, 0.99),
        "max_ms": max(waits),
    }


def _answered(port: int, request: bytes) -> float:
    slot = load.Slot(port, request)
    slot.sock.setblocking(True)
    slot.send()
    while not slot.receive():
        pass
    at = time.monotonic()
    slot.sock.close()
    if not slot.received.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200")):
        raise AssertionError(slot.received[:300])
    return at


@figure("confirmation_idle")
def confirmation_idle(bench: Bench) -> Values:
    """Nothing else is going on."""
    with clinic(bench, people=10_000) as made, made.workers():
        return _confirmations(made, count=20 if bench.quick else 100, rate=20)


@figure("confirmation_busy")
def confirmation_busy(bench: Bench) -> Values:
    """A large broadcast runs all the while."""
    people = bench.size(1_000_000)
    with clinic(bench, people=people) as made, made.workers():
        made.broadcast()
        values = _confirmations(made, count=20 if bench.quick else 100, rate=20)
        values["still_running"] = int(
            made.sql("select exists (select 1 from batch where state = 'ready')")[0][0]
        )
        return values


@figure("events_store")
def events_store(bench: Bench) -> Values:
    """Signed posts of 1,000 events to the webhook."""
    signer = views.Signer()
    signed = [
        signer.post("/webhooks/sendgrid", events) for events in views._posts(100 if bench.quick else 400)
    ]
    with clinic(bench, people=10_000, real_time=True, SENDGRID_WEBHOOK_KEY=signer.public) as made:
        with bench.gunicorn("wsgi:app", threads=2, env=made.env) as (port, _):
            bench.load(port, signed[:8], connections=4)
            answer = bench.load(port, signed, connections=4)
        if made.sql("select count(*) from webhook_receipt")[0][0] != len(signed) + 8:
            raise AssertionError("A post was lost.")
    return answer | {"events_rate": answer["rate"] * 1000}


@figure("events_apply")
def events_apply(bench: Bench) -> Values:
    """Stored posts of 1,000 events applied by the workers: states, evidence, suppressions."""
    people = bench.size(100_000)
    with clinic(bench, people=people) as made, made.workers() as pids:
        ids = [row[0] for row in made.sql(MESSAGES)]
        events = views.make_events([(str(one), f"person{n + 1}@example.test") for n, one in enumerate(ids)])
        with made.inside():
            posts = [
                tracking.store_only(orjson.dumps(events[at : at + 1000])) for at in range(0, people, 1000)
            ]
        bench.postgres.settle(made.name)
        with bench.meter(app=pids) as meter:
            began = time.monotonic()
            made.push(*[JobRequest("tracking.apply", (one,)) for one in posts])
            finished = made.wait(
                statement="select exists (select 1 from webhook_receipt where applied_at is null)"
            )
        if made.sql("select count(*) from provider_event")[0][0] != people:
            raise AssertionError("An event was lost.")
    return {"rate": people / (finished - began), "cpu_us": meter.total / people * 1e6}


@figure("opt_out", runs=1)
def opt_out(bench: Bench) -> Values:
    """Fifty people say no while 100,000 are queued: a claim that began afterwards must leave them out.

    Batches in flight are those whose claim began before the no was committed; a message row bears that moment.
    """
    people = bench.size(100_000)
    with clinic(bench, people=people) as made, made.workers():
        bench.sink.reset(latency=0.02)
        made.broadcast()
        chosen = f"select id, email from contact where email like 'person%' and mod(id, {people // 50}) = 7"
        who = dict(made.sql(chosen))
        with made.inside():
            for contact_id in who:
                consent.withdraw(contact_id=contact_id, topic=None, source="one_click")
        committed = now()
        made.wait()
        rows = made.sql(
            "select contact_id from message where contact_id = any(%s) and created_at > %s",
            (list(who), committed),
        )
        arrived = bench.sink.arrivals([who[contact_id] for (contact_id,) in rows])
    return {
        "late": sum(at is not None for at in arrived.values()),
        "said_no": len(who),
        "claimed_later": len(rows),
    }


@figure("intake")
def intake(bench: Bench) -> Values:
    """Contact requests, each a new person, consent and audit included."""
    with clinic(bench, people=10_000) as made:
        headers = _key(made)
        requests: list[Any] = [_request(number, headers) for number in range(400 if bench.quick else 3_000)]
        with bench.gunicorn("wsgi:app", threads=4, env=made.env) as (port, master):
            bench.load(port, requests[:100])
            before = cpu_seconds([master, bench.postgres.pid])
            answer = bench.load(port, requests[100:])
            spent = cpu_seconds([master, bench.postgres.pid]) - before
    return answer | {"cpu_us": spent / answer["requests"] * 1e6}
