"""Clocks of leads, and acts on many of them."""

from crm.core.db import transaction
from crm.core.queue import enqueue
from crm.desk import bulk as many
from crm.leads import sla


def escalate() -> None:
    """Note every lead whose time is over, one slice and one transaction after the other."""
    while True:
        with transaction():
            noted = sla.escalate()
        if noted < sla.SLICE:
            return


def bulk(run_id: int) -> None:
    """Do, or take back, an act on many leads."""
    many.work(run_id)


def look_after() -> None:
    """Go on with acts on many leads that were interrupted."""
    with transaction():
        for run_id in many.stalled():
            enqueue("leads.bulk", run_id)
