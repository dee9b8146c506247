"""Jobs of documents."""

from crm.core import current
from crm.core.db import transaction
from crm.core.queue import LOW, job
from crm.leads.documents import fax_inbox, scanning, service


@job(queue=LOW, timeout=120, every=30)
def collect_faxes() -> None:
    """Take in the files of the fax folder."""
    fax_inbox.collect(current.settings().fax_folder)


@job(queue=LOW, timeout=600, every=30)
def scan() -> None:
    """Scan documents that were not scanned."""
    with transaction():
        scanning.scan_waiting(address=current.settings().clamd_address)


@job(queue=LOW, timeout=60, every=3600)
def clean_up() -> None:
    """Delete documents that were removed long ago."""
    with transaction():
        service.delete_removed()
