"""One batch, from ready to an outcome: claim and commit, call the provider with nothing open, record.

Why nothing is sent twice: a call is only made by the attempt whose token the batch row holds; the row says
`sending` before the first byte leaves; a batch in `sending` is never taken again, only settled. Why nothing is lost:
whatever does not end in an outcome is found by the sweep.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from crm.core.config import Settings
from crm.core.db import retry_transaction, transaction
from crm.core.failpoints import failpoint
from crm.mailer import Fate, Outcome
from crm.messages import rules
from crm.messages.engine.claim import Attempt, claim_batch
from crm.messages.engine.record import apply_outcome

log = structlog.get_logger()


Found = TypeVar("Found")
PATIENCE = (
    30.0  # seconds in which an answer that is known must reach the database; then the sweep calls it in doubt
)
NOT_CALLED = Outcome(fate=Fate.TRY_AGAIN, error="no call was made")


def deliver(batch_id: int, *, settings: Settings) -> str:
    """Deliver one batch; return what became of it: "nothing", or the batch's new state."""
    attempt = claim_committed(
        lambda: claim_batch(batch_id, clinic=settings.clinic, public_url=settings.public_url)
    )
    if attempt is None:
        return "nothing"
    return str(record_outcome(attempt, post(attempt)).state)


def claim_committed(claiming: Callable[[], Found]) -> Found:
    """Claim in a transaction of its own. When its commit failed it may have gone through all the same; that is undone."""
    failpoint("before-claim")
    found: list[Found] = []
    try:
        with transaction():
            found.append(claiming())
            failpoint("claimed")
    except SQLAlchemyError:
        for attempt in found:
            if isinstance(attempt, Attempt):
                record_outcome(attempt, NOT_CALLED)
        raise
    failpoint("committed")
    return found[0]


def post(attempt: Attempt) -> Outcome:
    """Make the call of a committed attempt, unless it comes too late to be sure that it is ours to make."""
    if time.monotonic() > attempt.until:
        # We were asleep for long, and somebody may be deciding about this batch. That we did not call is worth noting.
        log.warning("batch.too_slow", batch=attempt.batch_id)
        return NOT_CALLED
    return attempt.mailer.post(attempt.prepared)


def record_outcome(attempt: Attempt, outcome: Outcome) -> rules.Next:
    """Write down what became of an attempt; while the database cannot, try again."""
    failpoint("posted")

    def writing() -> rules.Next:
        following = apply_outcome(attempt, outcome)
        failpoint("recorded")
        return following

    following = retry_transaction(writing, seconds=PATIENCE)
    failpoint("done")
    log.info("batch.sent", batch=attempt.batch_id, size=len(attempt.message_ids), fate=outcome.fate.value)
    return following
