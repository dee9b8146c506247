"""Jobs of sequences: the planner, and publishing of new versions."""

import time

from crm.core import queue
from crm.core.db import transaction
from crm.core.queue import BULK, LOW, job
from crm.sequences import drafts, planner
from crm.sequences.service import (
    ENTER_SLICE,
    enrol_from_segments,
    release_held,
    resume_left_behind,
)


@job(queue=BULK, timeout=300, every=10)
def plan() -> None:
    """Plan every due enrolment, one transaction per slice; past the first slice, request a second worker."""
    alone = True
    while True:
        with transaction():
            handled = planner.plan_due()
        if handled < planner.SLICE:
            return
        if alone:
            queue.push([queue.JobRequest("sequences.plan", key=f"help-{time.monotonic_ns()}")])
            alone = False


@job(queue=LOW, timeout=60, every=600)
def release() -> None:
    """Release enrolments that wait for content which has since been approved, or that a resume left behind."""
    with transaction():
        release_held()
        resume_left_behind()


@job(queue=LOW, timeout=300, every=60)
def enter() -> None:
    """Enrol people who came into the segment that a sequence starts with; one transaction per slice."""
    more = True
    while more:
        with transaction():
            more = enrol_from_segments() >= ENTER_SLICE


@job(queue=LOW, timeout=300, every=60)
def publish() -> None:
    """Publish the approved drafts whose time for undo is over, and move people; one transaction per slice."""
    with transaction():
        waiting = drafts.to_publish()
    for draft_id in waiting:
        more = True
        while more:
            with transaction():
                more = drafts.publish(draft_id)
