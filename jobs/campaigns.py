"""Jobs of broadcasts: audience snapshots and maintenance."""

from crm.campaigns import audience, service
from crm.core.db import transaction
from crm.core.queue import BULK, LOW, job


@job(queue=BULK, timeout=300)
def freeze(campaign_id: int) -> None:
    """Write the audience snapshot of a broadcast, one transaction per slice."""
    more = True
    while more:
        with transaction():
            more = audience.freeze_slice(campaign_id)


@job(queue=LOW, timeout=60, every=10)
def look_after() -> None:
    """Launch broadcasts that are due, resume interrupted ones, close finished ones."""
    with transaction():
        service.run_maintenance()
