"""Jobs of the audit log."""

from crm.audit import seals
from crm.audit import service as audit
from crm.core import current
from crm.core.db import transaction
from crm.core.queue import LOW, job
from crm.messages import alert_emails
from crm.staff import alerts


@job(queue=LOW, timeout=120, every=60)
def seal() -> None:
    """Add the entries recorded since the last run to the hash chain."""
    _seal_slice()


@job(queue=LOW, timeout=120, every=3600)
def seal_outside() -> None:
    """Keep the newest link outside the database, and email it once a day to the person who keeps the seals."""
    with transaction():
        made = seals.make()
        if made is None:
            return
        if not seals.keep(made):
            words = "The seal of the audit log could not be kept outside the database: AUDIT_SEAL_FILE and Redis refuse it."
            alerts.raise_alert(key="audit-seal", level="warning", text=words)
        else:
            alerts.close("audit-seal")
        alert_emails.send_audit_seal(made.line, clinic=current.settings().clinic)


@job(queue=LOW, timeout=3600, every=86_400)
def verify() -> None:
    """Verify the whole log against itself and its seals; raise an alert when something is not as it was written.

    What waits is chained first: after days in which the service was off, that is no sign of tampering.
    """
    while _seal_slice(wait=True):
        pass
    with transaction():
        findings = seals.verify()
        if findings:
            words = f"The audit log does not verify ({len(findings)} findings). Run: flask --app wsgi audit verify"
            alerts.raise_alert(key="audit", level="danger", text=words, link="/console/audit")
        else:
            alerts.close("audit")
        audit.record("audit.verified", detail={"findings": len(findings)})


def _seal_slice(*, wait: bool = False) -> int:
    with transaction():
        return audit.seal(wait=wait)
