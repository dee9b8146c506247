"""Jobs of the referrer portal: the digest email."""

from crm.core.db import transaction
from crm.core.queue import LOW, job
from crm.portal import digest as portal_digest
from crm.portal import service as portal


@job(queue=LOW, timeout=300, every=1800)
def digest() -> None:
    """Send digest emails that are due and delete old referral drafts."""
    with transaction():
        portal_digest.publish_changes()
        portal.delete_expired_drafts()
