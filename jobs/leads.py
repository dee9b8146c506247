"""Jobs of leads: deadlines and bulk actions."""

from crm.core.db import transaction
from crm.core.queue import LOW, enqueue, job
from crm.desk.bulk import service as bulk_runs
from crm.leads import sla


@job(queue=LOW, timeout=300, every=60)
def escalate() -> None:
    """Record every overdue lead, one transaction per slice."""
    while True:
        with transaction():
            noted = sla.escalate_overdue()
        if noted < sla.SLICE:
            return


@job(queue=LOW, timeout=600)
def bulk(run_id: int) -> None:
    """Run or undo one bulk action."""
    bulk_runs.continue_run(run_id)


@job(queue=LOW, timeout=60, every=60)
def look_after() -> None:
    """Resume interrupted bulk actions."""
    with transaction():
        for run_id in bulk_runs.stalled_runs():
            enqueue("leads.bulk", run_id)
