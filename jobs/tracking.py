"""Applying what the provider said, and comparing its lists with ours."""

from contextlib import closing
from datetime import datetime

from crm.core.db import transaction
from crm.mailer.sendgrid_lists import LISTS, PAGE, ListsError, SendGridLists
from crm.tracking import service, suppression_sync
from jobs.context import app

MOST_PAGES = 2_000  # of one list in one run: a million addresses


def apply(receipt_id: int) -> None:
    """Apply one stored post of events."""
    with transaction():
        service.apply(receipt_id)


def sweep() -> None:
    """Ask again for posts that were stored and not applied."""
    with transaction():
        service.run_sweep()


def reconcile() -> None:
    """Once a day, compare our stops with the provider's lists, page by page."""
    with transaction():
        run = suppression_sync.begin()
        begun = (run.id, run.since) if run is not None else None
    if begun is None:
        return
    run_id, since = begun
    settings, error = app().settings, None
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
