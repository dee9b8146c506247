"""Jobs of consultations."""

from crm.consultations import outcomes, reminders
from crm.core.db import transaction
from crm.core.queue import LOW, job


@job(queue=LOW, timeout=300, every=300)
def ask_for_outcomes() -> None:
    """Ask for the outcome of past consultations, one transaction per slice."""
    while True:
        with transaction():
            asked = outcomes.ask_for_outcomes()
        if asked < outcomes.SLICE:
            return


@job(queue=LOW, timeout=300, every=300)
def remind() -> None:
    """Remind people of their consultations, one transaction per slice."""
    while True:
        with transaction():
            reminded = reminders.remind()
        if reminded < reminders.SLICE:
            return
