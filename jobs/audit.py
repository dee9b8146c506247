"""Chaining the audit log."""

from crm.audit import service as audit
from crm.core.db import transaction


def seal() -> None:
    """Put what was noted since the last time into the chain."""
    with transaction():
        audit.seal()
