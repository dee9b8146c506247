"""What is wrong with this installation, in words, and what to do about it."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

from redis.exceptions import RedisError
from rq import Worker
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from crm.clinic import service as clinic
from crm.content.service import count_waiting
from crm.core import clock, current, queue
from crm.core.config import Settings
from crm.core.db import db
from crm.leads import rules as leads_rules
from crm.mailer import dns_records
from crm.mailer.sendgrid_lists import LACKS_SCOPE, REFUSED, ListsError, SendGridLists
from crm.messages import queries as messages_queries
from crm.messages.limits import copy_guard, switches
from crm.ops import backups, job_failures, proxy_check, server_checks
from crm.ops.findings import Finding
from crm.staff import alerts
from crm.tracking.models import Reconciliation

SILENT_WEBHOOK = timedelta(hours=1)
SLOW_BACKLOG = timedelta(minutes=10)
SLOW_EVENTS = timedelta(minutes=5)
NO_PULSE = timedelta(minutes=2)  # the sweep marks its round every ten seconds
UNCOMPARED = timedelta(days=2)
REPORT_PROMISED = timedelta(days=7)  # templates/content/referring-provider
TOLD = frozenset(
    {"backlog", "events-wait", "webhook-silent", "rights", "backup"}
)  # these raise an alert by themselves


def examine(settings: Settings) -> list[Finding]:
    """Look at everything, from the database to the DNS; return what is not as it should be."""
    try:
        db.session.execute(text("select 1"))
    except OperationalError:
        return [Finding("problem", "The database cannot be reached. Check DATABASE_URL.", "database")]
    if words := _cannot_be_written():
        return [Finding("problem", words, "database")]
    inside = [
        *_clinic(settings),
        *_copy(settings),
        *_processes(),
        *_jobs(),
        *_switches(),
        *_sending(),
        *_webhook(settings),
        *_lists(),
        *_content(),
        *server_checks.findings(settings),
        *_backup(settings),
    ]
    return [*inside, *_key(settings), *_dns(settings), *proxy_check.findings(settings)]


def _clinic(settings: Settings) -> Iterator[Finding]:
    if settings.clinic_gaps:
        names = ", ".join(name.replace("_", " ") for name in settings.clinic_gaps)
        words = f"No email is sent before the clinic’s {names} are set: in the console, page Clinic, or as CLINIC_* settings."
        yield Finding("problem", words, "clinic")
    elif settings.production and (examples := clinic.leftovers(settings)):
        names = ", ".join(name.replace("_", " ") for name in examples)
        yield Finding("problem", f"These facts of the clinic still hold an example: {names}.", "clinic")


def _backup(settings: Settings) -> list[Finding]:
    """Say how old the newest backup is; nothing without a target, where another program makes them."""
    if settings.backup_folder is None and not settings.backup_s3_url:
        return []
    try:
        found, late = backups.newest(settings), backups.is_due(settings, after=backups.LATE)
    except backups.BackupFailed as error:
        return [Finding("problem", f"Backups cannot be looked at. {error}", "backup")]
    said = f"The newest backup is from {found:%Y-%m-%d %H:%M} UTC." if found else "There is no backup."
    if late:
        return [Finding("problem", f"{said} Run: flask --app wsgi ops backup", "backup")]
    return [Finding("note", said, "backup-age")]


def _cannot_be_written() -> str | None:
    """Write a megabyte that is gone at once; a full disk lets itself be read and not be written."""
    try:
        with db.session.begin_nested():
            db.session.execute(
                text(
                    "create temp table probe on commit drop as select repeat('x', 1000) from generate_series(1, 1000)"
                )
            )
            db.session.execute(text("drop table probe"))
    except DBAPIError as error:
        return f"The database cannot be written to ({type(error.orig).__name__}). Nothing is lost, but nothing moves."
    return None


def raise_alerts(settings: Settings) -> list[str]:
    """Raise an alert for what staff must know of, and close those that are over; return the codes that hold."""
    looked_at = [*_sending(), *_webhook(settings), *server_checks.findings(settings), *_backup(settings)]
    found = {finding.code: finding for finding in looked_at if finding.code in TOLD}
    for code in TOLD - found.keys():
        alerts.close(code)
    for code, finding in found.items():
        alerts.raise_alert(key=code, level="danger", text=finding.text, link="/console/mail")
    return sorted(found)


def _processes() -> Iterator[Finding]:
    try:
        served = {name: Worker.count(queue=queue.queue(name)) for name in queue.QUEUES}
        leads = queue.redis().get("scheduler:lead")
    except RedisError:
        words = "Redis cannot be reached. Nothing is lost, but nothing moves. Check REDIS_URL."
        yield Finding("problem", words, "redis")
        return
    if not any(served.values()):
        yield Finding("problem", "No worker is running: flask --app wsgi workers", "workers")
    else:
        for name in [name for name, workers in served.items() if not workers]:
            words = f"No worker looks at the queue “{name}”: flask --app wsgi worker --queue {name}"
            yield Finding("problem", words, "workers")
    if leads is None:
        yield Finding("problem", "No scheduler is running: flask --app wsgi scheduler", "scheduler")
    elif any(served.values()):
        yield from _pulse()


def _jobs() -> Iterator[Finding]:
    for words in job_failures.failing_jobs().values():
        yield Finding("problem", words, "jobs")


def _pulse() -> Iterator[Finding]:
    row = switches.get()
    if row.stopped_at is None and row.alive_at is not None and clock.now() - row.alive_at > NO_PULSE:
        minutes = int((clock.now() - row.alive_at).total_seconds() // 60)
        words = f"Workers and scheduler are there, but nothing has been swept for {minutes} minutes: restart the workers."
        yield Finding("problem", words, "pulse")


def _copy(settings: Settings) -> Iterator[Finding]:
    found = copy_guard.difference()
    if found is not None:
        words = f"{found[1]} Nothing is sent. Find out which database is the real one, then resume sending on the page Mail."
        yield Finding("problem", words, "copy")
    if not copy_guard.outside().file_is_writable():
        words = (
            f"{settings.sending_mark_file} cannot be written, so only Redis remembers how far mail was sent. "
        )
        yield Finding(
            "problem", f"{words}Set SENDING_MARK_FILE to a file that the service may write.", "mark-file"
        )


def _switches() -> Iterator[Finding]:
    row = switches.get()
    if row.stopped_at is not None:
        words = f"All sending is stopped by {row.stopped_by}: {row.stop_reason} Release it on the page Mail."
        yield Finding("problem", words, "stopped")
    if row.throttled_until is not None and row.throttled_until > clock.now():
        yield Finding("note", "The mail provider asked us to wait a little.", "throttled")
    for stop in messages_queries.stopped_streams():
        words = f"The stream {stop.stream} stopped itself: {stop.reason}. Look why, then let it go on on the page Mail."
        yield Finding("problem", words, "breaker")


_COUNTS = text("""
    select count(*) filter (where state = 'uncertain') as uncertain,
        count(*) filter (where state = 'failed' and error is distinct from 'blocked_policy') as failed,
        count(*) filter (where error = 'blocked_policy') as blocked,
        count(*) filter (where state = 'held' and error like 'content%') as unapproved
    from batch where state in ('sending', 'uncertain', 'failed', 'held')
""")


def _sending() -> Iterator[Finding]:
    now, row = clock.now(), switches.get()
    counts = db.session.execute(_COUNTS).one()
    if counts.uncertain:
        words = f"{_batches(counts.uncertain)} may or may not have been sent; see Mail in the console."
        yield Finding("note", words, "uncertain")
    if counts.failed:
        yield Finding("note", f"{_batches(counts.failed)} failed; see Mail in the console.", "failed")
    if counts.blocked:
        words = f"{_batches(counts.blocked)} to patients waiting for a transport with a BAA (SMTP_URL, SMTP_HAS_BAA)."
        yield Finding("note", words, "blocked")
    if counts.unapproved:
        words = f"{_batches(counts.unapproved)} waiting for approved content; see Content in the console."
        yield Finding("note", words, "content")
    oldest = db.session.scalar(
        text("select min(not_before) from batch where state = 'ready' and not_before <= :now"), {"now": now}
    )
    stopped = row.stopped_at is not None or messages_queries.stopped_streams()
    if oldest is not None and now - oldest > SLOW_BACKLOG and not stopped:
        words = "Emails have been due for more than ten minutes and are still queued."
        yield Finding("problem", words, "backlog")


def _batches(number: int) -> str:
    return "One batch" if number == 1 else f"{number:,} batches"


_EVENTS = text("""
    select (select max(state_at) from batch where state = 'accepted' and transport = 'sendgrid'
            and state_at > :day and state_at <= :hour) as accepted,
        (select max(received_at) from webhook_receipt) as received,
        (select min(received_at) from webhook_receipt where applied_at is null) as waits,
        (select count(*) from alert where closed_at is null and key like 'events-failed:%') as failed
""")


def _webhook(settings: Settings) -> Iterator[Finding]:
    now = clock.now()
    row = db.session.execute(_EVENTS, {"day": now - timedelta(days=1), "hour": now - SILENT_WEBHOOK}).one()
    if row.accepted is not None and (row.received is None or row.received < row.accepted):
        words = "Mail was accepted more than an hour ago, and no event has come back since. Check SendGrid's Event Webhook: "
        yield Finding("problem", f"{words}{settings.public_url}/webhooks/sendgrid, signed.", "webhook-silent")
    if row.waits is not None and now - row.waits > SLOW_EVENTS:
        words = "Events from the mail provider have waited for more than five minutes: start more workers."
        yield Finding("problem", words, "events-wait")
    yield from _event_posts(row.failed)
    if not settings.sendgrid_webhook_keys:
        words = "Events are refused: no key to check them with is set (SENDGRID_WEBHOOK_KEY)."
        if not settings.production:
            words = "SENDGRID_WEBHOOK_KEY is not set here; what `make run` starts has the sandbox's own key."
        yield Finding("problem" if settings.production else "note", words, "webhook-key")


def _event_posts(failed: int) -> Iterator[Finding]:
    if unclear := messages_queries.unclear_events():
        parts = ", ".join(f"{number:,} {code.replace('_', ' ')}" for code, number in unclear.items())
        words = f"Events of the mail provider that were not understood in seven days: {parts}. See Mail in the console."
        yield Finding("note", words, "events-unclear")
    if failed:
        words = f"Posts of events that failed again and again and were set aside: {failed:,}. Fix the cause, then: "
        yield Finding("problem", f"{words}flask --app wsgi events retry", "events-failed")


def _lists() -> Iterator[Finding]:
    newest = select(Reconciliation).order_by(Reconciliation.id.desc()).limit(1)
    run = db.session.scalar(newest)
    if run is not None and run.error is not None:
        words = f"The provider's lists of stopped addresses could not be compared with ours: {run.error}."
        yield Finding("note", words, "lists")
    elif run is not None and clock.now() - run.started_at > UNCOMPARED:
        words = "The provider's lists of stopped addresses have not been compared with ours for two days."
        yield Finding("note", words, "lists")


def _content() -> Iterator[Finding]:
    waiting = count_waiting()
    if waiting:
        yield Finding("note", f"Content versions that wait for a reviewer: {waiting:,}.", "review")
    yield from _promises()


def _promises() -> Iterator[Finding]:
    """The emails to referring clinicians promise a report within seven days; opening hours may allow longer."""
    days = [
        clock.now() + timedelta(days=number) for number in range(28)
    ]  # so that one holiday does not count
    ends = [
        leads_rules.due_at(kind=leads_rules.REFERRAL, stage="seen", since=day, calendar=current.calendar())
        for day in days
    ]
    if all(end is not None and end - day > REPORT_PROMISED for day, end in zip(days, ends, strict=True)):
        words = "Emails to clinicians promise a report within seven days; your opening hours allow longer. Change one of them."
        yield Finding("note", words, "promises")


def _key(settings: Settings) -> Iterator[Finding]:
    try:
        with closing(
            SendGridLists(api_key=settings.sendgrid_api_key, url=settings.sendgrid_url, timeout=5)
        ) as lists:
            lists.check_key()
    except ListsError as error:
        if str(error) == REFUSED:
            words = "The mail provider refuses our key: check SENDGRID_API_KEY, then release sending on the page Mail."
            yield Finding("problem", words, "key")
        elif str(error) != LACKS_SCOPE:  # a key that may only send is a good key
            yield Finding(
                "problem",
                f"{settings.sendgrid_url}: {error}. Check SENDGRID_URL and the network.",
                "key",
            )


def _dns(settings: Settings) -> Iterator[Finding]:
    domains = {
        address.rpartition("@")[2] for address in (settings.clinic.from_email, settings.clinic.care_email)
    }
    for domain in sorted(domains):
        if not dns_records.is_real(domain):
            words = (
                f"SPF, DKIM and DMARC are not checked: {domain} is nobody's domain. Set CLINIC_FROM_EMAIL."
            )
            yield Finding("note", words, "dns")
            continue
        for record in dns_records.look_up(domain):
            if record.fine is None:
                yield Finding(
                    "note", f"{record.name} is not checked: {record.text} Try: dig TXT {domain}", "dns"
                )
            elif not record.fine:
                yield Finding("problem", f"{record.name}: {record.text}", "dns")
