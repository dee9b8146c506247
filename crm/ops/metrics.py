"""`/metrics`: numbers about queues, batches and events for Prometheus. No personal data, no names of people or content."""

import hmac
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime

from flask import Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis.exceptions import RedisError
from rq import Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import select, text

from crm.core import clock, current, queue
from crm.core.blueprints import PublicPages
from crm.core.db import db
from crm.core.errors import NotFound
from crm.intake import trap
from crm.messages.limits import circuit_breakers, copy_guard, pacing, switches
from crm.messages.limits.copy_rules import Difference
from crm.messages.models import StreamStop
from crm.messages.rules import STREAMS
from crm.ops import job_failures

pages = PublicPages("metrics", __name__)

_BATCHES = text(
    "select state, count(*) as n, coalesce(sum(size - left_out), 0) as emails from batch group by state"
)
_NOW = text("""
    select
        (select extract(epoch from cast(:now as timestamptz) - min(not_before)) from batch
            where state = 'ready' and not_before <= :now) as mail_waits,
        (select extract(epoch from cast(:now as timestamptz) - min(state_at)) from batch
            where state = 'uncertain') as uncertain_waits,
        (select extract(epoch from cast(:now as timestamptz) - min(due_at)) from enrolment
            where state = 'active' and due_at <= :now) as steps_wait,
        (select count(*) from (select 1 from enrolment where state = 'active' and due_at <= :now limit 100000) d)
            as steps_due,
        (select extract(epoch from cast(:now as timestamptz) - min(received_at)) from webhook_receipt
            where applied_at is null) as events_wait,
        (select count(*) from webhook_receipt where applied_at is null) as events_waiting,
        (select coalesce(sum(u.value::bigint), 0) from webhook_receipt r, jsonb_each_text(r.unclear) u
            where r.unclear is not null) as events_unclear,
        (select count(*) from alert where closed_at is null and key like 'events-failed:%') as events_set_aside,
        (select extract(epoch from cast(:now as timestamptz) - max(received_at)) from webhook_receipt) as webhook_silent,
        (select extract(epoch from cast(:now as timestamptz) - max(finished_at)) from reconciliation
            where error is null) as lists_compared,
        (select count(*) from alert where closed_at is null) as alerts,
        (select count(*) from alert where closed_at is null and key like 'job:%') as jobs_failing,
        (select (stopped_at is not null)::int from sending_control) as stopped,
        (select greatest(extract(epoch from throttled_until - cast(:now as timestamptz)), 0) from sending_control)
            as throttled,
        (select count(*) from campaign where state = 'paused') as campaigns_paused
""")
_ALERTS = text(
    "select split_part(key, ':', 1) as kind, count(*) from alert where closed_at is null group by 1 order by 1"
)
_HELP = {
    "mail_waits": "Age of the oldest batch that is due and still queued, in seconds",
    "uncertain_waits": "Age of the oldest batch that may or may not have been sent, in seconds",
    "steps_wait": "Age of the oldest sequence step that is due and was not planned, in seconds",
    "steps_due": "Sequence steps that are due and were not planned, counted to 100,000",
    "events_wait": "Age of the oldest provider post that was not applied, in seconds",
    "events_waiting": "Provider posts that were not applied",
    "events_unclear": "Items in the provider posts of the last 30 days that were not understood",
    "events_set_aside": "Provider posts that failed again and again and were set aside",
    "webhook_silent": "Seconds since the provider last told us anything",
    "lists_compared": "Seconds since our stops were last compared with the provider's lists",
    "alerts": "Open alerts",
    "jobs_failing": "Jobs that failed three times in a row and have not succeeded since",
    "stopped": "1 while all sending is stopped",
    "throttled": "Seconds for which the provider asked us to wait",
    "campaigns_paused": "Broadcasts paused by staff or by a circuit breaker",
}


class _Collector:
    """Everything, in eight statements and a few rounds to Redis."""

    def collect(self) -> Iterator[Metric]:
        yield from _outcomes()
        found = db.session.execute(_NOW, {"now": clock.now()}).one()
        for name, words in _HELP.items():
            yield GaugeMetricFamily(f"crm_{name}", words, value=float(getattr(found, name) or 0))
        yield from _alerts()
        yield from _streams()
        yield from _marks()
        yield from _pace()
        yield from _queues()


def _outcomes() -> Iterator[Metric]:
    batches = GaugeMetricFamily("crm_batches", "Batches by state", labels=["state"])
    emails = GaugeMetricFamily("crm_emails", "Emails by the state of their batch", labels=["state"])
    for row in db.session.execute(_BATCHES):
        batches.add_metric([row.state], row.n)
        emails.add_metric([row.state], float(row.emails))
    yield from (batches, emails)


def _alerts() -> Iterator[Metric]:
    """Count open alerts by kind: the part of their key that names no record."""
    kinds = GaugeMetricFamily("crm_open_alerts", "Open alerts by kind", labels=["kind"])
    for kind, count in db.session.execute(_ALERTS):
        kinds.add_metric([kind], count)
    yield kinds


def _streams() -> Iterator[Metric]:
    stopped = GaugeMetricFamily(
        "crm_stream_stopped", "1 while a breaker holds this stream", labels=["stream"]
    )
    bounces = GaugeMetricFamily("crm_stream_bounce_rate", "Hard bounces of a week, 0 to 1", labels=["stream"])
    complaints = GaugeMetricFamily(
        "crm_stream_complaint_rate", "Complaints of a week, 0 to 1", labels=["stream"]
    )
    held = set(db.session.scalars(select(StreamStop.stream)))
    for name in STREAMS:
        stopped.add_metric([name], float(name in held))
    for rates in circuit_breakers.stream_rates():
        bounces.add_metric([rates.scope], rates.bounced / max(rates.accepted, 1))
        complaints.add_metric([rates.scope], rates.complained / max(rates.accepted, 1))
    yield from (stopped, bounces, complaints)


def _marks() -> Iterator[Metric]:
    words = "1 for the mark by which this database is a copy, or older than its mail"
    differs = GaugeMetricFamily("crm_database_differs", words, labels=["mark"])
    found = copy_guard.difference()
    for mark in Difference:
        differs.add_metric([mark], float(found is not None and found[0] is mark))
    yield differs


def _pace() -> Iterator[Metric]:
    """How much of each cap on all mail is used; caps that are not set are not shown."""
    now = clock.now()
    used = GaugeMetricFamily("crm_pace_used", "Emails counted in the present window", labels=["window"])
    cap = GaugeMetricFamily("crm_pace_cap", "Emails that may leave in a window", labels=["window"])
    counted = pacing.usage(now=now)
    for name, most in pacing.caps(switches.get(), now=now).overall.items():
        used.add_metric([name], float(counted.get(name, 0)))
        cap.add_metric([name], float(most))
    yield from (used, cap)


def _queues() -> Iterator[Metric]:
    jobs = GaugeMetricFamily("crm_jobs_waiting", "Jobs waiting in Redis", labels=["queue"])
    lag = GaugeMetricFamily("crm_queue_lag", "Age of the oldest job that waits, in seconds", labels=["queue"])
    workers = GaugeMetricFamily("crm_workers", "Workers that look at a queue", labels=["queue"])
    leads = GaugeMetricFamily("crm_scheduler", "1 while a scheduler leads")
    reachable = GaugeMetricFamily("crm_redis", "1 while Redis answers")
    failures = CounterMetricFamily("crm_job_failures", "Failed runs of jobs", labels=["job"])
    trapped = CounterMetricFamily("crm_intake_trapped", "Contact requests with the hidden field filled in")
    try:
        for name in queue.QUEUES:
            waiting = queue.queue(name)
            jobs.add_metric([name], waiting.count)
            lag.add_metric([name], _age(waiting.get_job_ids(length=1)))
            workers.add_metric([name], Worker.count(queue=waiting))
        for name, count in job_failures.totals().items():
            failures.add_metric([name], count)
        trapped.add_metric([], trap.total())
        leads.add_metric([], float(queue.redis().exists("scheduler:lead")))
        reachable.add_metric([], 1)
    except RedisError:
        reachable.add_metric([], 0)
    yield from (jobs, lag, workers, failures, trapped, leads, reachable)


def _age(job_ids: list[str]) -> float:
    """Age of a job in seconds."""
    try:
        job = Job.fetch(job_ids[0], connection=queue.redis(), serializer=JSONSerializer) if job_ids else None
    except NoSuchJobError:
        return 0.0
    since = job.enqueued_at if job is not None else None
    return max((_real_now() - since).total_seconds(), 0.0) if since else 0.0


def _real_now() -> datetime:
    """Redis keeps real time, whatever the demo's clock says."""
    return datetime.now(UTC)


def _is_loopback(address: str) -> bool:
    """Return whether an address is this machine's; one that a proxy wrote in another form is not."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def require_operator() -> None:
    """Let in requests with METRICS_TOKEN; where none is set, those from this machine. Raises NotFound for all others."""
    token = current.settings().metrics_token
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    local = _is_loopback(request.remote_addr or "")
    if not (hmac.compare_digest(given.encode(), token.encode()) if token else local):
        raise NotFound("Page not found.")


@pages.get("/metrics")
def metrics() -> Response:
    """Answer requests from this machine, or with the token; raise NotFound for all others."""
    require_operator()
    registry = CollectorRegistry()
    registry.register(_Collector())
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
