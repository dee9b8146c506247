"""The sweep finds batches that should have moved, so Redis may be emptied and workers killed at any time."""

from datetime import datetime

from sqlalchemy import text

from crm.core import clock, queue
from crm.core.db import after_commit, db
from crm.messages.engine import pipeline
from crm.messages.limits import quiet_hours, switches
from crm.messages.rules import BatchKind
from crm.staff import alerts

QUEUE_AT_ONCE = 500  # ready batches queued per sweep; the next one queues more

_EXPIRED = text("""
    update batch set state = 'uncertain', lease_until = null, state_at = :now,
        error = 'the worker stopped between calling the provider and noting the answer'
    where state = 'sending' and lease_until < :now returning id
""")
_TOO_LATE = text("""
    update batch set state = 'failed', state_at = :now, error = 'too late to be sent'
    where state = 'ready' and too_late_at <= :now returning id
""")
# Transactional mail is queued by id; of the rest only the number matters.
_READY = text("""
    select id, kind, attempts from batch where state = 'ready' and not_before <= :now
    order by not_before, id limit :limit
""")
# A statement that computes the local hour fails if one of the time zones is unknown to PostgreSQL.
_UNKNOWN_ZONE = text("""
    update batch b set state = 'failed', state_at = :now, error = 'time zone not found'
    where b.state = 'ready' and b.not_before <= :now and b.time_zones is not null
        and exists (select 1 from unnest(b.time_zones) z where not exists (select 1 from time_zone t where t.name = z))
    returning id
""")
_NIGHT = text(f"""
    update batch set not_before = (select max({quiet_hours.opens("name")}) from time_zone where name = any(time_zones))
    where state = 'ready' and not_before <= :now and time_zones is not null
        and not {quiet_hours.is_day_everywhere("time_zones")}
""")
# One event about any of its messages shows that the provider took the whole call.
_SETTLED = text("""
    update batch b set state = 'accepted', state_at = :now, settled_by = 'events', error = null
    where b.state = 'uncertain' and exists (
        select 1 from message m join provider_event e on e.message_id = m.id where m.batch_id = b.id)
    returning id
""")


def run_sweep(*, production: bool) -> dict[str, int]:
    """Move stuck batches and queue ready ones again; return how many of each."""
    now = clock.now()
    switches.heartbeat(guard_silence=production)
    found = {
        "uncertain": len(db.session.execute(_EXPIRED, {"now": now}).all()),
        "settled": len(db.session.execute(_SETTLED, {"now": now}).all()),
        "too_late": len(db.session.execute(_TOO_LATE, {"now": now}).all()),
        "ready": enqueue_ready(now),
    }
    if found["uncertain"]:
        alerts.raise_alert(
            key="uncertain",
            level="warning",
            text="Some emails are unconfirmed: they may or may not have been sent. Events usually settle this within the hour.",
            link="/console/mail",
        )
    if found["too_late"]:
        alerts.raise_alert(
            key="too-late",
            level="warning",
            text="Some emails were not sent: they had expired.",
            link="/console/mail",
        )
    return found


def enqueue_ready(now: datetime) -> int:
    """Queue the delivery of ready batches that are due. A job that is still in Redis is not queued twice."""
    _set_aside_unknown_zones(now)
    db.session.execute(_NIGHT, {"now": now})
    found = db.session.execute(_READY, {"now": now, "limit": QUEUE_AT_ONCE}).all()
    requests = [
        queue.JobRequest("messages.deliver_now", (row.id,), str(row.attempts))
        for row in found
        if row.kind == BatchKind.TRANSACTIONAL
    ]
    requests += pipeline.lane_requests(len(found) - len(requests), key="run_sweep")
    after_commit(lambda: queue.push(requests))
    return len(found)


def _set_aside_unknown_zones(now: datetime) -> None:
    """Fail the batches with an unknown time zone, and raise an alert. All other batches are sent."""
    if db.session.execute(_UNKNOWN_ZONE, {"now": now}).first() is not None:
        alerts.raise_alert(
            key="unknown-zone",
            level="danger",
            text="Some emails were not sent: the time zone of their recipients is unknown. Send to the rest.",
            link="/console/mail",
        )
