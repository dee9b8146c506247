"""Waking enrolments."""

import time

from crm.core import queue
from crm.core.db import transaction
from crm.sequences import planner
from crm.sequences.service import release_held


def plan() -> None:
    """Handle everyone whose next step is due, slice after slice; when there are many, another worker is asked to help."""
    alone = True
    while True:
        with transaction():
            handled = planner.plan_due()
        if handled < planner.SLICE:
            return
        if alone:
            queue.push([("sequences.plan", (), f"help-{time.monotonic_ns()}")])
            alone = False


def release() -> None:
    """Look again at people who wait for content; it may have been approved meanwhile."""
    with transaction():
        release_held()
