"""The pipeline of bulk mail: while the provider answers about one batch, the next is claimed and built.

A job asks a worker to help ("a lane"), not to send a certain batch: the worker takes the oldest ready batch until none
is left, so that a lost or a doubled job changes nothing. All database work is done in one thread, one short
transaction at a time; other threads only make the calls.
"""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from crm.core import queue
from crm.core.config import Settings
from crm.mailer import Outcome
from crm.messages.engine.claim import Attempt, NoCall, claim_next_batch
from crm.messages.engine.deliver import claim_committed, post, record_outcome

LANES = 8  # workers that are asked to help with one lot of batches
IN_FLIGHT = 3  # calls of one worker that may wait for an answer at the same time
BUSY_SECONDS = 2.0  # then other jobs have their turn

_InFlight = deque[tuple[Attempt, "Future[Outcome]"]]


def lane_requests(batches: int, *, key: str) -> list[queue.JobRequest]:
    """Return the job requests for `batches` that became ready; `key` tells one lot from another."""
    return [
        queue.JobRequest("messages.deliver", key=f"{key}-{lane}")
        for lane in range(min((batches + 1) // 2, LANES))
    ]


def run(*, settings: Settings) -> int:
    """Deliver ready batches for up to BUSY_SECONDS; return how many. Queues another job when some may be left."""
    if settings.clinic_gaps:  # an email without sender and postal address must not be sent
        return 0
    until = time.monotonic() + BUSY_SECONDS
    waiting: _InFlight = deque()
    count = 0
    claimed: Attempt | NoCall = NoCall.BATCH_DONE
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="post") as callers:
        try:
            while _may_be_more(claimed) and time.monotonic() < until:
                claimed = _claim(settings)
                if isinstance(claimed, Attempt):
                    waiting.append((claimed, callers.submit(post, claimed)))
                    count += 1
                _record_answered(waiting)
        finally:
            while waiting:  # every call that was made is recorded, whatever happened above
                _record(waiting)
    if _may_be_more(claimed):
        queue.push(lane_requests(1, key=f"more-{time.monotonic_ns()}"))
    return count


def _may_be_more(claimed: Attempt | NoCall) -> bool:
    return claimed is not NoCall.NOTHING_READY and claimed is not NoCall.PACED


def _claim(settings: Settings) -> Attempt | NoCall:
    return claim_committed(lambda: claim_next_batch(clinic=settings.clinic, public_url=settings.public_url))


def _record_answered(waiting: _InFlight) -> None:
    """Record the oldest calls that are answered; wait for one when too many are in flight."""
    while waiting and (waiting[0][1].done() or len(waiting) >= IN_FLIGHT):
        _record(waiting)


def _record(waiting: _InFlight) -> None:
    """Record the outcome of the oldest call, once it is there."""
    attempt, answer = waiting.popleft()
    record_outcome(attempt, answer.result())
