"""Jobs of privacy: retention, and erasure at the mail provider."""

from contextlib import closing

from crm.core import current
from crm.core.db import transaction
from crm.core.queue import LOW, job
from crm.mailer.sendgrid_lists import ListsError, SendGridLists
from crm.privacy import periods, provider_erasures, retention


@job(queue=LOW, timeout=1800, every=3600)
def purge() -> None:
    """Delete data whose retention period is over."""
    retention.purge()


@job(queue=LOW, timeout=3600, every=86_400)
def retain() -> None:
    """Delete what is over the retention periods that the clinic set."""
    periods.run()


@job(queue=LOW, timeout=300, every=3600)
def erase_at_provider() -> None:
    """Ask the mail provider to erase what it keeps about erased people."""
    with transaction():
        owed = provider_erasures.owed()
    if not owed:
        return
    settings = current.settings()
    with closing(SendGridLists(api_key=settings.sendgrid_api_key, url=settings.sendgrid_url)) as lists:
        try:
            lists.erase(sorted(set(owed.values())))
        except ListsError as error:
            with transaction():
                provider_erasures.failed(str(error))
            return
    with transaction():
        provider_erasures.settle(list(owed))
