"""Files of people, in and out."""

from crm.db import transaction
from crm.interop import exporting, service, taking_back
from crm.interop import referrals as of_practices
from crm.queue import enqueue


def work(run_id: int) -> None:
    """Check, import or take back one file."""
    service.work(run_id)
    taking_back.take_back(run_id)


def export(export_id: int) -> None:
    """Write one file; where that fails, who waits for it is told."""
    try:
        with transaction():
            exporting.make(export_id)
    except Exception:
        with transaction():
            exporting.give_up(export_id)
        raise


def referrals(upload_id: int) -> None:
    """Take in the rows of a practice's file."""
    of_practices.work(upload_id)


def look_after() -> None:
    """Go on with what was interrupted, and drop files whose time is over."""
    with transaction():
        for run_id in service.stalled():
            enqueue("interop.work", run_id)
        for export_id in exporting.overdue():
            enqueue("interop.export", export_id)
        for upload_id in of_practices.stalled():
            enqueue("interop.referrals", upload_id)
        service.forget_old()
        of_practices.forget_old()
        exporting.forget_old()
