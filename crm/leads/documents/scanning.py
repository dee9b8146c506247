"""Virus scans of documents by the daemon that CLAMD_ADDRESS names; without it, documents stay marked as not scanned."""

from sqlalchemy import select, text

from crm.audit import service as audit
from crm.core import clock, crypto
from crm.core.db import db
from crm.leads.documents import clamd
from crm.leads.documents.models import UNSCANNED, Document, DocumentContent, Scan
from crm.staff import alerts

SLICE = 20
NO_SCANNER = "no-scanner"


def scan_waiting(*, address: str) -> int:
    """Scan up to 20 documents that were not scanned; return how many were. The scanner's failure raises an alert."""
    if not address:
        return 0
    waits = select(Document).where(text(UNSCANNED)).order_by(Document.id).limit(SLICE)
    done = 0
    for row in db.session.scalars(waits.with_for_update(skip_locked=True)).all():
        content = crypto.decrypt(db.session.get_one(DocumentContent, row.id).content)
        try:
            infected = clamd.is_infected(content, address=address)
        except clamd.ScannerError:
            alerts.raise_alert(
                key=NO_SCANNER,
                level="warning",
                text="The virus scanner does not answer. Files wait unscanned.",
            )
            return done
        _record(row, infected=infected)
        done += 1
    if done:
        alerts.close(NO_SCANNER)
    return done


def _record(row: Document, *, infected: bool) -> None:
    row.scan, row.scanned_at = Scan.INFECTED if infected else Scan.CLEAN, clock.now()
    audit.record("document.scan", object_type="document", object_id=row.id, detail={"scan": row.scan})
    if infected:
        alerts.raise_alert(
            key=f"infected:{row.id}",
            level="danger",
            text="The virus scanner found something in a file. It is not opened; remove it.",
            link=f"/console/documents/{row.id}",
        )
