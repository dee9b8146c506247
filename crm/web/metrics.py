"""`/metrics`: numbers about queues, batches and events for Prometheus. No personal data, no names of people or content."""

import hmac
import ipaddress
from collections.abc import Iterator

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError
from sqlalchemy import text

from crm import clock, current, queue
from crm.db import db
from crm.errors import NotFound

blueprint = Blueprint("metrics", __name__)

_BATCHES = text("select state, count(*) as n from batch group by state")
_NOW = text("""
    select
        (select extract(epoch from cast(:now as timestamptz) - min(not_before)) from batch
            where state = 'ready' and not_before <= :now) as mail_waits,
        (select extract(epoch from cast(:now as timestamptz) - min(due_at)) from enrolment
            where state = 'active' and due_at <= :now) as steps_wait,
        (select extract(epoch from cast(:now as timestamptz) - min(received_at)) from webhook_receipt
            where applied_at is null) as events_wait,
        (select extract(epoch from cast(:now as timestamptz) - max(received_at)) from webhook_receipt) as webhook_silent,
        (select count(*) from alert where closed_at is null) as alerts,
        (select (stopped_at is not null)::int from sending_control) as stopped,
        (select count(*) from stream_stop) as streams_stopped
""")
_HELP = {
    "mail_waits": "Age of the oldest batch that is due and has not left, in seconds",
    "steps_wait": "Age of the oldest sequence step that is due and was not planned, in seconds",
    "events_wait": "Age of the oldest provider post that was not applied, in seconds",
    "webhook_silent": "Seconds since the provider last told us anything",
    "alerts": "Open alerts",
    "stopped": "1 while all sending is stopped",
    "streams_stopped": "Streams that stopped themselves",
}


class _Collector:
    def collect(self) -> Iterator[Metric]:
        """Read everything in two statements and one round to Redis."""
        batches = GaugeMetricFamily("crm_batches", "Batches by state", labels=["state"])
        for row in db.session.execute(_BATCHES):
            batches.add_metric([row.state], row.n)
        yield batches
        found = db.session.execute(_NOW, {"now": clock.now()}).one()
        for name, words in _HELP.items():
            yield GaugeMetricFamily(f"crm_{name}", words, value=float(getattr(found, name) or 0))
        jobs = GaugeMetricFamily("crm_jobs_waiting", "Jobs waiting in Redis", labels=["queue"])
        try:
            for name in queue.QUEUES:
                jobs.add_metric([name], queue.queue(name).count)
        except RedisError:
            jobs.add_metric(["unreachable"], 1)
        yield jobs


@blueprint.get("/metrics")
def metrics() -> Response:
    """Answer the machine itself, or whoever brings the token; to everybody else this page does not exist."""
    token = current.settings().metrics_token
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    local = ipaddress.ip_address(request.remote_addr or "0.0.0.0").is_loopback  # noqa: S104 - nobody's address
    if not (hmac.compare_digest(given.encode(), token.encode()) if token else local):
        raise NotFound("This page is not here.")
    registry = CollectorRegistry()
    registry.register(_Collector())
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
