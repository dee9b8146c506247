"""Clocks of leads."""

from crm.db import transaction
from crm.leads import escalation


def escalate() -> None:
    """Note every lead whose time is over, one slice and one transaction after the other."""
    while True:
        with transaction():
            noted = escalation.escalate()
        if noted < escalation.SLICE:
            return
