"""Telling practices what became of their referrals."""

from crm.core.db import transaction
from crm.portal import digest as portal_digest
from crm.portal import service as portal


def digest() -> None:
    """Tell who is due, and forget drafts that are too old."""
    with transaction():
        portal_digest.tell()
        portal.drop_old_drafts()
