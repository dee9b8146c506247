"""Jobs of the audit log."""

from crm.audit import service as audit
from crm.core.db import transaction
from crm.core.queue import LOW, job


@job(queue=LOW, timeout=120, every=60)
def seal() -> None:
    """Add the entries recorded since the last run to the hash chain."""
    with transaction():
        audit.seal()
