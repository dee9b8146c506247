"""The second half of a send: write down what is known. Fenced by the attempt's token."""

import random
from collections.abc import Sequence

from sqlalchemy import text

from crm.core import clock, queue
from crm.core.db import db
from crm.mailer import Fate, Outcome
from crm.messages import rules
from crm.messages.engine.claim import Attempt
from crm.messages.limits import switches
from crm.staff import alerts

# A late answer still counts after the sweep called the batch uncertain: the token shows it is about this attempt.
_MOVE = text("""
    update batch set state = :state, lease_until = null, state_at = :now, provider_id = coalesce(:provider, provider_id),
        error = :error, not_before = coalesce(:not_before, not_before)
    where id = :id and attempt = :attempt and state in ('sending', 'uncertain')
    returning kind
""")
_FAIL = text("""
    with failed as (
        update message set state = 'failed', reason = :reason, state_at = :now where id = any(:ids) and state is null
        returning 1)
    update batch set left_out = left_out + (select count(*) from failed) where id = :batch
""")


def apply_outcome(attempt: Attempt, outcome: Outcome) -> rules.Next:
    """Write the outcome of one call, and ask for whatever follows from it."""
    now = clock.now()
    following = rules.after(
        outcome.fate.value,
        attempts=attempt.number,
        now=now,
        retry_at=outcome.retry_at,
        jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
    )
    moved = db.session.execute(
        _MOVE,
        {
            "id": attempt.batch_id,
            "attempt": attempt.attempt,
            "state": following.state,
            "now": now,
            "provider": outcome.provider_id,
            "error": outcome.error,
            "not_before": following.not_before,
        },
    ).first()
    if moved is None:  # somebody else settled it meanwhile
        return following
    if outcome.fate is Fate.REFUSED_SOME:
        _fail(
            attempt.batch_id,
            [attempt.message_ids[index] for index in outcome.refused if index < len(attempt.message_ids)],
            outcome,
        )
    if following.slow_until is not None:
        switches.throttle(until=following.slow_until)
    if following.stop_all:
        switches.stop(by="system", reason="The mail provider refuses our key.")
        alerts.raise_alert(
            key="provider-key",
            level="danger",
            text="The mail provider refuses our key. All sending is stopped; nothing is lost.",
            link="/console/mail",
        )
    if following.state is rules.State.FAILED:
        alerts.raise_alert(
            key=f"batch:{attempt.batch_id}",
            level="danger",
            text="The mail provider refused an email for good.",
            link="/console/mail",
        )
    if following.state is rules.State.READY and (following.not_before or now) <= now:
        enqueue_delivery(attempt.batch_id, kind=moved.kind, number=attempt.number)
    return following


def enqueue_delivery(batch_id: int, *, kind: str, number: int) -> None:
    """Ask for a batch to be delivered; people wait for transactional mail, so it has a queue of its own."""
    if kind == "transactional":
        queue.enqueue("messages.deliver_now", batch_id, key=str(number))
    else:  # a hand with whatever is ready, see `pipeline`
        queue.enqueue("messages.deliver", key=f"{batch_id}-{number}")


def _fail(batch_id: int, ids: Sequence[int], outcome: Outcome) -> None:
    db.session.execute(
        _FAIL, {"batch": batch_id, "ids": list(ids), "reason": outcome.error or "refused", "now": clock.now()}
    )
