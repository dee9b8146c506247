"""Jobs of broadcasts: audience snapshots and maintenance."""

import structlog
from rq.timeouts import JobTimeoutException

from crm.campaigns import audience, service
from crm.core.db import transaction
from crm.core.queue import BULK, LOW, job

log = structlog.get_logger()


@job(queue=BULK, timeout=300)
def freeze(campaign_id: int) -> None:
    """Write the audience snapshot of a broadcast, one transaction per slice. A failure raises an alert that names it."""
    more = True
    try:
        while more:
            with transaction():
                more = audience.freeze_slice(campaign_id)
                service.report_unstuck(campaign_id, part="freeze")
    except JobTimeoutException:  # a large audience: maintenance has it continued
        raise
    except Exception as error:
        with transaction():
            service.report_stuck(campaign_id, part="freeze", error=type(error).__name__)
        raise


@job(queue=LOW, timeout=60, every=10)
def look_after() -> None:
    """Launch broadcasts that are due, resume interrupted ones, close finished ones: each in a transaction of its own."""
    with transaction():
        found = service.open_campaigns()
    for campaign in found:
        try:
            with transaction():
                service.look_after(campaign)
                service.report_unstuck(campaign.id, part="maintenance")
        except JobTimeoutException:
            raise
        except Exception as error:  # whatever is wrong with one must not stop the others
            log.error("campaigns.look_after_failed", campaign_id=campaign.id, error=type(error).__name__)
            with transaction():
                service.report_stuck(campaign.id, part="maintenance", error=type(error).__name__)
    with transaction():
        service.settle_returned_batches()
