"""Telling practices what became of their referrals."""

from crm.db import transaction
from crm.leads import portal_digest, portal_service


def digest() -> None:
    """Tell who is due, and forget drafts that are too old."""
    with transaction():
        portal_digest.tell()
        portal_service.drop_old_drafts()
