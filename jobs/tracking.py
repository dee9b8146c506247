"""Applying what the provider said."""

from crm.db import transaction
from crm.tracking import service


def apply(receipt_id: int) -> None:
    """Apply one stored post of events."""
    with transaction():
        service.apply(receipt_id)


def sweep() -> None:
    """Ask again for posts that were stored and not applied."""
    with transaction():
        service.sweep()
