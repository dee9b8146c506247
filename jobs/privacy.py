"""Jobs of privacy: retention."""

from crm.core.queue import LOW, job
from crm.privacy import periods, retention


@job(queue=LOW, timeout=1800, every=3600)
def purge() -> None:
    """Delete data whose retention period is over."""
    retention.purge()


@job(queue=LOW, timeout=3600, every=86_400)
def retain() -> None:
    """Delete what is over the retention periods that the clinic set."""
    periods.run()
