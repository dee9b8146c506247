"""Clocks of leads, and acts on many of them."""

from crm.db import transaction
from crm.leads import bulk as many
from crm.leads import escalation
from crm.queue import enqueue


def escalate() -> None:
    """Note every lead whose time is over, one slice and one transaction after the other."""
    while True:
        with transaction():
            noted = escalation.escalate()
        if noted < escalation.SLICE:
            return


def bulk(run_id: int) -> None:
    """Do, or take back, an act on many leads."""
    many.work(run_id)


def look_after() -> None:
    """Go on with acts on many leads that were interrupted."""
    with transaction():
        for run_id in many.stalled():
            enqueue("leads.bulk", run_id)
