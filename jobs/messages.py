"""Jobs of messages: delivery, sweep, circuit breakers, alert emails."""

from crm.core import current
from crm.core.db import transaction
from crm.core.queue import BULK, LOW, URGENT, job
from crm.messages import alert_emails, notification_emails, service
from crm.messages.engine import pipeline
from crm.messages.engine import sweep as sweeping
from crm.messages.engine.deliver import deliver as deliver_batch
from crm.messages.limits import circuit_breakers
from crm.staff.notifications import service as notifications


@job(queue=BULK, timeout=60, twice=True)
def deliver(*_batch_id: int) -> None:
    """Deliver ready bulk batches, oldest first. (Jobs of an older release name one batch; the number is ignored.)"""
    pipeline.run(settings=current.settings())


@job(queue=URGENT, timeout=60, twice=True)
def deliver_now(batch_id: int) -> None:
    """Deliver one transactional email at once."""
    deliver_batch(batch_id, settings=current.settings())


@job(queue=URGENT, timeout=60, twice=True, every=10)
def sweep() -> None:
    """Settle stuck batches and request delivery of waiting ones."""
    with transaction():
        sweeping.run_sweep(production=current.settings().production)


@job(queue=LOW, timeout=120, every=60)
def check_rates() -> None:
    """Stop streams whose bounce or complaint rate is too high."""
    with transaction():
        circuit_breakers.trip_streams()


@job(queue=LOW, timeout=60, every=600)
def release() -> None:
    """Release batches that are held for content which has since been approved."""
    with transaction():
        service.release_approved()


@job(queue=LOW, timeout=60, every=60)
def tell_staff() -> None:
    """Email open alerts to staff when they are due."""
    with transaction():
        alert_emails.send_alert_digest(clinic=current.settings().clinic)


@job(queue=LOW, timeout=60, every=300)
def send_digests() -> None:
    """Email staff digests of their notifications that are due; delete those that were read long ago."""
    with transaction():
        notification_emails.send_digests(clinic=current.settings().clinic)
        notifications.delete_old()
