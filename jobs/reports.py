"""Jobs of reports: counting the roll-ups, and the numbers of a month for staff."""

from crm.core.db import transaction
from crm.core.queue import LOW, job
from crm.reports import monthly, rollup

MOST_SLICES = 60  # of one report in one run: five years


@job(queue=LOW, timeout=600, every=300)
def count() -> None:
    """Count the days that are due again, one transaction per slice, the newest first."""
    for report in rollup.REPORTS:
        with transaction():
            due = rollup.due_slices(report)
        for period in due[:MOST_SLICES]:
            with transaction():
                rollup.recount(report, period)


@job(queue=LOW, timeout=60, every=3600)
def notify_of_month() -> None:
    """Notify staff of last month's numbers, on the first days of a month."""
    with transaction():
        monthly.notify()
