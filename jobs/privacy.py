"""Jobs of privacy: retention."""

from crm.core.queue import LOW, job
from crm.privacy import retention


@job(queue=LOW, timeout=1800, every=3600)
def purge() -> None:
    """Delete data whose retention period is over."""
    retention.purge()
