"""Jobs of tracking: provider events and the suppression list sync."""

from contextlib import closing
from datetime import datetime

from sqlalchemy.exc import InterfaceError, OperationalError

from crm.core import current
from crm.core.db import transaction
from crm.core.queue import EVENTS, LOW, job
from crm.mailer.sendgrid_lists import LISTS, PAGE, ListsError, SendGridLists
from crm.tracking import service, suppression_sync

MOST_PAGES = 2_000  # of one list in one run: a million addresses


@job(queue=EVENTS, timeout=120, twice=True)
def apply(receipt_id: int) -> None:
    """Apply one stored webhook post. One that fails again and again is set aside, so that it holds up no other."""
    try:
        with transaction():
            service.apply(receipt_id)
    except (OperationalError, InterfaceError):
        raise  # the database was in the way, not the post
    except Exception as error:
        with transaction():
            service.note_failure(receipt_id, error=type(error).__name__)
        raise


@job(queue=EVENTS, timeout=60, twice=True, every=30)
def sweep() -> None:
    """Request the stored webhook posts that have not been applied."""
    with transaction():
        service.run_sweep()


@job(queue=LOW, timeout=1800, every=3600)
def reconcile() -> None:
    """Compare our suppressions with the provider's lists once a day, page by page."""
    with transaction():
        run = suppression_sync.begin()
        begun = (run.id, run.since) if run is not None else None
    if begun is None:
        return
    run_id, since = begun
    settings, error = current.settings(), None
    with closing(SendGridLists(api_key=settings.sendgrid_api_key, url=settings.sendgrid_url)) as lists:
        try:
            for name in LISTS:
                _compare(lists, run_id, name, since=since)
            _push(lists, run_id)
        except ListsError as reason:
            error = str(reason)
    with transaction():
        suppression_sync.finish(run_id, error=error)


def _compare(lists: SendGridLists, run_id: int, name: str, *, since: datetime | None) -> None:
    for number in range(MOST_PAGES):
        entries, more = lists.page(name, since=since, offset=number * PAGE)
        with transaction():
            back = suppression_sync.apply(run_id, name, entries)
        for email in back:
            lists.remove(email)
        if not more:
            return


def _push(lists: SendGridLists, run_id: int) -> None:
    with transaction():
        emails = suppression_sync.to_push(run_id)
    for start in range(0, len(emails), PAGE):
        lists.add(emails[start : start + PAGE])
