"""Delivery of one batch: claim and commit, call the provider with no transaction open, record the outcome.

Why nothing is sent twice: only the attempt whose token the batch row holds makes a call; the row says `sending`
before the first byte leaves; a batch in `sending` is never claimed again, only settled. Why nothing is lost: the
sweep finds every attempt that did not end in an outcome.
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
from crm.messages.engine.claim import Attempt, Unbuildable, claim_batch, set_aside
from crm.messages.engine.record import apply_outcome

log = structlog.get_logger()


Found = TypeVar("Found")
PATIENCE = 30.0  # seconds in which a known outcome must reach the database; then the sweep calls it uncertain
NOT_CALLED = Outcome(fate=Fate.TRY_AGAIN, error="no call was made")


def deliver(batch_id: int, *, settings: Settings) -> str:
    """Deliver one batch; return "nothing", or the batch's new state."""
    if settings.clinic_gaps:
        return "nothing"
    attempt = claim_committed(
        lambda: claim_batch(batch_id, clinic=settings.clinic, public_url=settings.public_url)
    )
    if attempt is None:
        return "nothing"
    return str(record_outcome(attempt, post(attempt)).state)


def claim_committed(claiming: Callable[[], Found]) -> Found:
    """Claim in a transaction of its own. A commit that failed may have gone through; that claim is undone.

    A batch that cannot be built is set aside, and the next one is claimed.
    """
    failpoint("before-claim")
    found: list[Found] = []
    try:
        with transaction():
            found.append(claiming())
            failpoint("claimed")
    except Unbuildable as broken:
        log.error("batch.set_aside", batch=broken.batch_id, error=broken.kind)
        with transaction():
            set_aside(broken)
        return claim_committed(claiming)
    except SQLAlchemyError:
        for attempt in found:
            if isinstance(attempt, Attempt):
                record_outcome(attempt, NOT_CALLED)
        raise
    failpoint("committed")
    return found[0]


def post(attempt: Attempt) -> Outcome:
    """Make the call of a committed attempt.

    Make no call if the lease may have expired, or if neither Redis nor the file stores the number of the claim.
    """
    if not attempt.mark.publish():
        return NOT_CALLED
    if time.monotonic() > attempt.until:
        # The process was suspended, and staff may be deciding about this batch.
        log.warning("batch.lease_expired", batch=attempt.batch_id)
        return NOT_CALLED
    return attempt.call.post()


def record_outcome(attempt: Attempt, outcome: Outcome) -> rules.Next:
    """Record the outcome of an attempt; retry while the database is unavailable."""
    failpoint("posted")

    def writing() -> rules.Next:
        following = apply_outcome(attempt, outcome)
        failpoint("recorded")
        return following

    following = retry_transaction(writing, seconds=PATIENCE)
    failpoint("done")
    log.info("batch.sent", batch=attempt.batch_id, size=len(attempt.message_ids), fate=outcome.fate.value)
    return following
