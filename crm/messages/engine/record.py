"""Recording the outcome of a call, the second half of a send. Fenced by the attempt's token."""

import random
from datetime import datetime

from sqlalchemy import text

from crm.core import clock, queue
from crm.core.db import db
from crm.mailer import Fate, Outcome
from crm.messages import rules
from crm.messages.engine.claim import Attempt
from crm.messages.limits import switches
from crm.messages.rules import BatchKind, BatchState
from crm.staff import alerts

# A late answer still counts after the sweep called the batch uncertain: the token shows it is about this attempt.
_SETTLE = text("""
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


# If the broadcast or sequence was paused or cancelled during the call, its batch is held or cancelled, not sent again.
_FOLLOW_STOP = text("""
    update batch b set state_at = :now,
        state = case when exists (select 1 from campaign k where k.id = b.campaign_id and k.state = 'cancelled')
            then 'cancelled' else 'held' end
    where b.id = :id and b.state = 'ready' and (
        exists (select 1 from campaign k where k.id = b.campaign_id and k.state in ('paused', 'cancelled'))
        or exists (select 1 from sequence q where q.id = b.sequence_id and q.state = 'paused'))
    returning id
""")


def apply_outcome(attempt: Attempt, outcome: Outcome) -> rules.Next:
    """Record the outcome of one call and start what follows from it."""
    now = clock.now()
    following = rules.after(
        outcome.fate,
        attempts=attempt.number,
        now=now,
        retry_at=outcome.retry_at,
        jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
    )
    moved = db.session.execute(
        _SETTLE,
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
    if moved is None:  # settled meanwhile, by a person or by events
        return following
    if outcome.fate is Fate.REFUSED_SOME:
        _fail_refused(attempt, outcome)
    if following.stop_all or following.slow_until is not None:
        _slow_down(following)
    if following.state is BatchState.FAILED:
        alerts.raise_alert(
            key=f"batch:{attempt.batch_id}",
            level="danger",
            text="The mail provider refused an email for good.",
            link="/console/mail",
        )
    if following.state is BatchState.READY:
        _wait_again(attempt, following, kind=moved.kind, now=now)
    return following


def _wait_again(attempt: Attempt, following: rules.Next, *, kind: BatchKind, now: datetime) -> None:
    """Request another delivery, unless the batch was paused or cancelled while its call was under way."""
    stopped = db.session.execute(_FOLLOW_STOP, {"id": attempt.batch_id, "now": now}).first()
    if stopped is None and (following.not_before or now) <= now:
        enqueue_delivery(attempt.batch_id, kind=kind, number=attempt.number)


def _slow_down(following: rules.Next) -> None:
    """Throttle or stop all sending, as the provider's answer demands."""
    if following.slow_until is not None:
        switches.throttle(until=following.slow_until)
    if following.stop_all:
        switches.stop(by="system", reason="The mail provider refuses our key.")
        alerts.raise_alert(
            key="provider-key",
            level="danger",
            text="The mail provider refuses our API key. All sending is stopped; no email is lost.",
            link="/console/mail",
        )


def enqueue_delivery(batch_id: int, *, kind: str, number: int) -> None:
    """Queue the delivery of a batch; transactional mail has a queue of its own, because people wait for it."""
    if kind == BatchKind.TRANSACTIONAL:
        queue.enqueue("messages.deliver_now", batch_id, key=str(number))
    else:  # one more worker for all that is ready, see `pipeline`
        queue.enqueue("messages.deliver", key=f"{batch_id}-{number}")


def _fail_refused(attempt: Attempt, outcome: Outcome) -> None:
    """Fail the messages that the provider named."""
    ids = [attempt.message_ids[index] for index in outcome.refused if index < len(attempt.message_ids)]
    given = {"batch": attempt.batch_id, "ids": ids, "reason": outcome.error or "refused", "now": clock.now()}
    db.session.execute(_FAIL, given)
