"""Waking enrolments."""

from crm.db import transaction
from crm.sequences import planner
from crm.sequences.service import release_held


def plan() -> None:
    """Handle everyone whose next step is due, one slice and one transaction after the other."""
    while True:
        with transaction():
            handled = planner.plan_due()
        if handled < planner.SLICE:
            return


def release() -> None:
    """Look again at people who wait for content; it may have been approved meanwhile."""
    with transaction():
        release_held()
