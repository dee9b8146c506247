"""Jobs of files: contact imports, exports, and bulk uploads of practices."""

from crm.core.db import transaction
from crm.core.queue import LOW, enqueue, job
from crm.exports import service as exports
from crm.imports import service
from crm.imports import undo as imports_undo
from crm.portal.uploads import service as uploads


@job(queue=LOW, timeout=3600)
def work(run_id: int) -> None:
    """Check, import or undo one contact file."""
    service.process(run_id)
    imports_undo.undo_import(run_id)


@job(queue=LOW, timeout=1800)
def export(export_id: int) -> None:
    """Write one export file, or tell the person who requested it that it failed."""
    try:
        with transaction():
            exports.write_export(export_id)
    except Exception:
        with transaction():
            exports.mark_failed(export_id)
        raise


@job(queue=LOW, timeout=1800)
def referrals(upload_id: int) -> None:
    """Submit the rows of a practice's upload as referrals."""
    uploads.process(upload_id)


@job(queue=LOW, timeout=120, every=60)
def look_after() -> None:
    """Resume interrupted files and delete expired ones."""
    with transaction():
        for run_id in service.stalled():
            enqueue("interop.work", run_id)
        for export_id in exports.overdue():
            enqueue("interop.export", export_id)
        for upload_id in uploads.stalled():
            enqueue("interop.referrals", upload_id)
        service.delete_expired()
        uploads.delete_expired()
        exports.delete_expired()
