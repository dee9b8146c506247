"""What is wrong with this installation, in words."""

from dataclasses import dataclass
from datetime import timedelta

from redis.exceptions import RedisError
from rq import Worker
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from crm import clock, queue
from crm.content.service import count_waiting
from crm.db import db
from crm.messages import control

SILENT_WEBHOOK = timedelta(hours=1)
SLOW_BACKLOG = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know; `level` is "problem" or "note"."""

    level: str
    text: str


def examine() -> list[Finding]:
    """Look at the database, Redis, workers, scheduler, webhook and switches; return what is not as it should be."""
    try:
        db.session.execute(text("select 1"))
    except OperationalError:
        return [Finding("problem", "The database cannot be reached. Check DATABASE_URL.")]
    return [*_redis(), *_sending(), *_webhook(), *_content()]


def _redis() -> list[Finding]:
    try:
        workers = Worker.count(connection=queue.redis())
        leads = queue.redis().get("scheduler:lead")
    except RedisError:
        return [
            Finding(
                "problem", "Redis cannot be reached. Nothing is lost, but nothing moves. Check REDIS_URL."
            )
        ]
    found = []
    if workers == 0:
        found.append(Finding("problem", "No worker is running: flask --app wsgi worker"))
    if leads is None:
        found.append(Finding("problem", "No scheduler is running: flask --app wsgi scheduler"))
    return found


def _sending() -> list[Finding]:
    now, row = clock.now(), control.get()
    found = []
    if row.stopped_at is not None:
        found.append(Finding("problem", f"All sending is stopped by {row.stopped_by}: {row.stop_reason}"))
    if row.throttled_until is not None and row.throttled_until > now:
        found.append(Finding("note", "The mail provider asked us to wait a little."))
    counts = db.session.execute(
        text("""
            select count(*) filter (where state = 'uncertain') as uncertain,
                count(*) filter (where state = 'failed' and error is distinct from 'blocked_policy') as failed,
                count(*) filter (where error = 'blocked_policy') as blocked
            from batch where state in ('sending', 'uncertain', 'failed', 'held')
        """)
    ).one()
    if counts.uncertain:
        found.append(
            Finding("note", f"{counts.uncertain} batches may or may not have left; see Mail in the console.")
        )
    if counts.failed:
        found.append(Finding("note", f"{counts.failed} batches failed; see Mail in the console."))
    if counts.blocked:
        found.append(Finding("note", f"{counts.blocked} emails to patients wait for a transport with a BAA."))
    oldest = db.session.scalar(
        text("select min(not_before) from batch where state = 'ready' and not_before <= :now"), {"now": now}
    )
    if oldest is not None and now - oldest > SLOW_BACKLOG and row.stopped_at is None:
        found.append(Finding("problem", "Emails have been due for more than ten minutes and have not left."))
    return found


def _webhook() -> list[Finding]:
    silent = db.session.scalar(
        text("""
            select exists (select 1 from batch where state = 'accepted' and transport = 'sendgrid'
                    and state_at between cast(:now as timestamptz) - interval '1 day' and :since)
                and not exists (select 1 from webhook_receipt
                    where received_at > cast(:now as timestamptz) - interval '1 day')
        """),
        {"now": clock.now(), "since": clock.now() - SILENT_WEBHOOK},
    )
    return (
        [
            Finding(
                "problem", "Mail was accepted, but no event came back for an hour. Check the Event Webhook."
            )
        ]
        if silent
        else []
    )


def _content() -> list[Finding]:
    waiting = count_waiting()
    return [Finding("note", f"{waiting} content versions wait for a reviewer.")] if waiting else []
