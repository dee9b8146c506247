"""Bulk mail, batch after batch: while the provider thinks about one, the next is claimed and built.

A worker is asked to help ("a lane"), not for a certain batch: it takes whatever is ready, the oldest first, until
nothing is, so that a lost or a repeated request changes nothing. All work with the database is done here, in one thread
and one short transaction at a time; other threads only make the calls.
"""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from crm.core import queue
from crm.core.config import Settings
from crm.mailer import Outcome
from crm.messages.engine.claim import Attempt, Left, claim_next_batch
from crm.messages.engine.deliver import claim_committed, post, record_outcome

LANES = 8  # workers asked to help with one lot of batches
IN_FLIGHT = 3  # calls of one worker that may wait for an answer at the same time
BUSY_SECONDS = 2.0  # then other jobs have their turn

_Sent = deque[tuple[Attempt, "Future[Outcome]"]]


def lane_requests(batches: int, *, key: str) -> list[queue.JobRequest]:
    """Return the job requests for `batches` that became ready; `key` tells one lot from another."""
    return [
        queue.JobRequest("messages.deliver", key=f"{key}-{lane}")
        for lane in range(min((batches + 1) // 2, LANES))
    ]


def run(*, settings: Settings) -> int:
    """Deliver what is ready; return how many batches left. Asks for another turn when there was too much for one."""
    until = time.monotonic() + BUSY_SECONDS
    waiting: _Sent = deque()
    count, more = 0, True
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="post") as callers:
        try:
            while more:
                attempt = _claim(settings)
                if isinstance(attempt, Attempt):
                    waiting.append((attempt, callers.submit(post, attempt)))
                    count += 1
                more = attempt is not Left.NOTHING and attempt is not Left.LATER and time.monotonic() < until
                while waiting and (waiting[0][1].done() or len(waiting) >= IN_FLIGHT):
                    _record(waiting)
        finally:
            while waiting:  # whatever happened above, what left is written down
                _record(waiting)
    if isinstance(attempt, Attempt) or attempt is Left.NOBODY:
        queue.push(lane_requests(1, key=f"more-{time.monotonic_ns()}"))
    return count


def _claim(settings: Settings) -> Attempt | Left:
    return claim_committed(lambda: claim_next_batch(clinic=settings.clinic, public_url=settings.public_url))


def _record(waiting: _Sent) -> None:
    """Write down the answer that was asked for first, once it is there."""
    attempt, answer = waiting.popleft()
    record_outcome(attempt, answer.result())
