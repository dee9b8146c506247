"""One batch, from ready to an outcome: claim and commit, call the provider with nothing open, record.

Why nothing is sent twice: a call is only made by the attempt whose token the batch row holds; the row says
`sending` before the first byte leaves; a batch in `sending` is never taken again, only settled. Why nothing is lost:
whatever does not end in an outcome is found by the sweep.
"""

import time

import structlog

from crm.config import Settings
from crm.db import transaction
from crm.failpoints import reach
from crm.mailer import Outcome
from crm.messages.claim import Attempt, claim
from crm.messages.record import record

log = structlog.get_logger()


def deliver(batch_id: int, *, settings: Settings) -> str:
    """Deliver one batch; return what became of it: "nothing", "too slow", or the batch's new state."""
    reach("before-claim")
    with transaction():
        attempt = claim(batch_id, clinic=settings.clinic, public_url=settings.public_url)
        if attempt is None:
            return "nothing"
        reach("claimed")
    reach("committed")
    outcome = post(attempt)
    if outcome is None:
        return "too slow"
    reach("posted")
    with transaction():
        following = record(attempt, outcome)
        reach("recorded")
    reach("done")
    log.info("batch.sent", batch=batch_id, size=len(attempt.message_ids), fate=outcome.fate.value)
    return str(following.state)


def post(attempt: Attempt) -> Outcome | None:
    """Make the call of a committed attempt; None, and no call, when it comes too late to be sure that it is ours."""
    if time.monotonic() > attempt.until:
        # We were asleep for long; the sweep may be deciding about this batch. It will see to it.
        log.warning("batch.too_slow", batch=attempt.batch_id)
        return None
    return attempt.mailer.post(attempt.prepared)
