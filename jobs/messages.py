"""Delivering batches, and finding what got stuck."""

from crm.core.db import transaction
from crm.messages import alert_emails
from crm.messages.engine import pipeline
from crm.messages.engine import sweep as sweeping
from crm.messages.engine.deliver import deliver as deliver_batch
from crm.messages.limits import circuit_breakers
from jobs.context import app


def deliver(*_batch_id: int) -> None:
    """Help with bulk mail that is ready. (Jobs of an older release named one batch; the oldest goes first anyway.)"""
    pipeline.run(settings=app().settings)


def deliver_now(batch_id: int) -> None:
    """Deliver one transactional email: somebody is waiting for it."""
    deliver_batch(batch_id, settings=app().settings)


def sweep() -> None:
    """Move what got stuck, ask again for what waits."""
    with transaction():
        sweeping.run_sweep(production=app().settings.production)


def check_rates() -> None:
    """Stop streams that bounce or annoy too much."""
    with transaction():
        circuit_breakers.trip_streams()


def tell_staff() -> None:
    """Email staff about open alerts, when it is time."""
    with transaction():
        alert_emails.tell(clinic=app().settings.clinic)
