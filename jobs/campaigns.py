"""Freezing audiences, and what campaigns need from time to time."""

from crm.campaigns import audience, service
from crm.core.db import transaction


def freeze(campaign_id: int) -> None:
    """Write down who gets a campaign, slice by slice, one transaction each."""
    more = True
    while more:
        with transaction():
            more = audience.freeze_slice(campaign_id)


def look_after() -> None:
    """Launch what is due, go on with what was interrupted, close what is done."""
    with transaction():
        service.run_maintenance()
