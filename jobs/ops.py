"""Jobs of operation: the daily backup."""

from crm.core import current
from crm.core.db import transaction
from crm.core.queue import LOW, job
from crm.ops import backups
from crm.staff import alerts

FAILED = "backup-failed"


@job(queue=LOW, timeout=4 * 3600, every=3600)
def back_up() -> None:
    """Make a backup once a day where a target is set, and raise an alert when that fails."""
    settings = current.settings()
    if not settings.backup_keys or not (settings.backup_folder or settings.backup_s3_url):
        return
    try:
        if backups.is_due(settings):
            backups.make(settings)
    except backups.BackupFailed as error:
        with transaction():
            alerts.raise_alert(
                key="backup-failed", level="danger", text=f"The backup failed, and is tried again each hour. {error}",
                link="/console/setup?check=1",
            )  # fmt: skip
        return
    with transaction():
        alerts.close(FAILED)
