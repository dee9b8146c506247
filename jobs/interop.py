"""Files of people, in and out."""

from crm.core.db import transaction
from crm.core.queue import enqueue
from crm.exports import service as exports
from crm.imports import service
from crm.imports import undo as imports_undo
from crm.portal.uploads import service as of_practices


def work(run_id: int) -> None:
    """Check, import or take back one file."""
    service.work(run_id)
    imports_undo.take_back(run_id)


def export(export_id: int) -> None:
    """Write one file; where that fails, who waits for it is told."""
    try:
        with transaction():
            exports.make(export_id)
    except Exception:
        with transaction():
            exports.give_up(export_id)
        raise


def referrals(upload_id: int) -> None:
    """Take in the rows of a practice's file."""
    of_practices.work(upload_id)


def look_after() -> None:
    """Go on with what was interrupted, and drop files whose time is over."""
    with transaction():
        for run_id in service.stalled():
            enqueue("interop.work", run_id)
        for export_id in exports.overdue():
            enqueue("interop.export", export_id)
        for upload_id in of_practices.stalled():
            enqueue("interop.referrals", upload_id)
        service.forget_old()
        of_practices.forget_old()
        exports.forget_old()
