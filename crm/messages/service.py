"""The verbs of the ledger: queue an email, hold or cancel queued mail, settle what failed or is unconfirmed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, text, update

from crm.audit import service as audit
from crm.content import service as content
from crm.core import clock, queue
from crm.core.db import after_commit, as_json, bigint_array, db, execute_raw
from crm.core.errors import Conflict, NotFound
from crm.core.events import publish
from crm.messages import transports
from crm.messages.engine import pipeline
from crm.messages.engine.claim import AFTER_TOUCH
from crm.messages.engine.record import enqueue_delivery
from crm.messages.events import MessageBlocked
from crm.messages.models import Batch, StepEmail
from crm.messages.rules import BATCH_MOVES, STREAMS, BatchKind, BatchState, MessageState
from crm.staff import alerts

TOO_LATE_TRANSACTIONAL = timedelta(hours=48)


# The batch and its one message: one statement, one round trip.
_SEND = """
    with made as (
        insert into batch (kind, stream, transport, content_version_id, language, size, state, error, created_at,
            not_before, too_late_at, state_at, passes_stop)
        values ('transactional', :stream, :transport, :version, :language, 1, :batch_state, :error,
            :now, :now, :too_late_at, :now, :passes_stop)
        returning id)
    insert into message (batch_id, contact_id, content_version_id, params, created_at, state, reason, state_at)
    select id, :contact_id, :version, :params, :now, :state, :reason, :state_at from made
    returning id, batch_id
"""


def send_transactional(
    kind: str,
    *,
    contact_id: int,
    language: str,
    params: Mapping[str, Any] | None = None,
    passes_stop: bool = False,
) -> int:
    """Queue one transactional email (`templates/email/<kind>`); return the message id.

    `params` names links by row id and plain facts, see `envelope.from_params`. With `passes_stop` it is sent while all
    sending is stopped: for alert emails to staff only. When policy allows no transport the
    row is written as `blocked_policy`, with an alert. Raises NotFound without approved content.
    """
    now = clock.now()
    version = content.transactional_version(kind, language=language)
    if version is None:
        raise NotFound(f"Approved email {kind!r} not found.")
    transport = transports.route(STREAMS[version.stream])
    given = {
        "stream": version.stream,
        "version": version.id,
        "language": language,
        "contact_id": contact_id,
        "params": as_json(params or {}),
        "now": now,
        "too_late_at": now + TOO_LATE_TRANSACTIONAL,
        "passes_stop": passes_stop,
    }
    made = execute_raw(_SEND, given | _initial_state(transport, now)).one()
    if transport:
        enqueue_delivery(made.batch_id, kind=BatchKind.TRANSACTIONAL, number=0)
    else:
        publish(MessageBlocked(message_id=made.id, contact_id=contact_id, stream=version.stream))
        alert_blocked_policy()
    return int(made.id)


def _initial_state(transport: str | None, now: datetime) -> dict[str, Any]:
    """Return the columns that differ between mail that may be sent and mail that no transport may carry."""
    if transport:
        empty: dict[str, Any] = dict.fromkeys(("error", "state", "reason", "state_at"))
        return empty | {"transport": transport, "batch_state": BatchState.READY}
    return {
        "transport": "none",
        "batch_state": BatchState.FAILED,
        "error": "blocked_policy",
        "state": MessageState.BLOCKED_POLICY,
        "reason": "no transport with a BAA",
        "state_at": now,
    }


def alert_blocked_policy() -> None:
    """Raise the alert that policy allows no transport for mail to patients."""
    alerts.raise_alert(
        key="blocked-policy",
        level="warning",
        text="Mail to patients is not sent: no transport with a business associate agreement is set up.",
        link="/console/mail",
    )


def queue_batches(
    groups: Mapping[tuple[int, str], Sequence[StepEmail]],
    *,
    stream: str,
    topic: str,
    sequence_id: int,
    too_late_at: datetime | None,
    window: Mapping[str, Any],
) -> list[int]:
    """Write message rows for sequence steps and their batches; return the batch ids.

    `groups` maps (content version, language) to the emails. `window` is the stored send window. Takes
    a constant number of statements per thousand rows.
    """
    now, transport = clock.now(), transports.route(STREAMS[stream])
    size = transports.batch_size(transport or "sendgrid")
    parts = [
        (version_id, language, rows[start : start + size])
        for (version_id, language), rows in groups.items()
        for start in range(0, len(rows), size)
    ]
    if not parts:
        return []
    initial = _initial_state(transport, now)
    same = {
        "kind": BatchKind.SEQUENCE,
        "stream": stream,
        "transport": initial["transport"],
        "topic": topic,
        "sequence_id": sequence_id,
        "state": initial["batch_state"],
        "error": initial["error"],
        "created_at": now,
        "not_before": now,
        "too_late_at": too_late_at,
        "send_window": window,
        "state_at": now,
    }
    ids = _insert_batches(parts, same)
    _write_messages(ids, parts, initial, now)
    if transport:
        _queue_delivery(ids)
    else:
        alert_blocked_policy()
    return ids


def _insert_batches(
    parts: Sequence[tuple[int, str, Sequence[StepEmail]]], same: Mapping[str, Any]
) -> list[int]:
    rows = [
        {**same, "content_version_id": version_id, "language": language, "size": len(people)}
        for version_id, language, people in parts
    ]
    return list(db.session.scalars(insert(Batch).returning(Batch.id, sort_by_parameter_order=True), rows))


_WRITE_STEPS = text("""
    insert into message (batch_id, contact_id, content_version_id, consent_record_id, enrolment_id, step,
        created_at, state, reason, state_at)
    select batch_id, contact_id, version_id, record_id, enrolment_id, step, cast(:now as timestamptz),
        cast(:state as text), cast(:reason as text), cast(:state_at as timestamptz)
    from unnest(cast(:batches as bigint[]), cast(:contacts as bigint[]), cast(:versions as bigint[]),
        cast(:records as bigint[]), cast(:enrolments as bigint[]), cast(:steps as bigint[]))
        as one(batch_id, contact_id, version_id, record_id, enrolment_id, step)
""")


def _write_messages(
    ids: Sequence[int],
    parts: Sequence[tuple[int, str, Sequence[StepEmail]]],
    initial: Mapping[str, Any],
    now: datetime,
) -> None:
    batches: list[int] = []
    versions: list[int] = []
    emails: list[StepEmail] = []
    for batch_id, (version_id, _, rows) in zip(ids, parts, strict=True):
        batches += [batch_id] * len(rows)
        versions += [version_id] * len(rows)
        emails += rows
    given: dict[str, Any] = {
        "batches": bigint_array(batches),
        "contacts": bigint_array([one.contact_id for one in emails]),
        "versions": bigint_array(versions),
        "records": bigint_array([one.consent_record_id for one in emails]),
        "enrolments": bigint_array([one.enrolment_id for one in emails]),
        "steps": bigint_array([one.step for one in emails]),
    }
    given |= {name: initial[name] for name in ("state", "reason", "state_at")}
    db.session.execute(_WRITE_STEPS, given | {"now": now})


def _queue_delivery(batch_ids: Sequence[int]) -> None:
    """Queue the delivery of batches that have become ready."""
    if batch_ids:
        requests = pipeline.lane_requests(
            len(batch_ids), key=f"b{batch_ids[0]}-{int(clock.now().timestamp())}"
        )
        after_commit(lambda: queue.push(requests))


def skip_waiting(
    *, contact_ids: Sequence[int], reason: str, enrolment_ids: Sequence[int] | None = None
) -> int:
    """Skip queued educational mail of these people, within this transaction; return how many emails."""
    done = db.session.execute(
        text("""
            update message m set state = 'skipped', reason = :reason, state_at = :now
            from batch b
            where b.id = m.batch_id and b.state in ('ready', 'held') and b.kind <> 'transactional'
                and m.contact_id = any(:contacts) and m.state is null
                and (cast(:enrolments as bigint[]) is null or m.enrolment_id = any(:enrolments))
        """),
        {
            "reason": reason,
            "now": clock.now(),
            "contacts": list(contact_ids),
            "enrolments": list(enrolment_ids) if enrolment_ids is not None else None,
        },
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


_SKIP_CONFIRMATIONS = text("""
    update message m set state = 'skipped', reason = :reason, state_at = :now
    from batch b
    where b.id = m.batch_id and b.state in ('ready', 'held', 'failed') and b.kind = 'transactional'
        and m.contact_id = :contact and m.state is null and m.params->'links' ? 'confirm_url'
""")


def skip_confirmations(*, contact_id: int, reason: str) -> int:
    """Skip a person's confirmation emails that did not leave yet; return how many.

    Email goes to the address that a person has when it leaves, and a confirmation holds for one address only.
    """
    given = {"contact": contact_id, "reason": reason, "now": clock.now()}
    done = db.session.execute(_SKIP_CONFIRMATIONS, given)
    return int(done.rowcount)  # type: ignore[attr-defined]


_END_WAIT = text("""
    update batch set not_before = :now where state = 'ready' and not_before > :now and error = :why
        and id in (select batch_id from message where contact_id = :contact and state is null)
""")


def end_wait_after_touch(*, contact_id: int) -> None:
    """Make the batches of a person due that wait because staff were in touch with them; the sweep finds them."""
    db.session.execute(_END_WAIT, {"contact": contact_id, "now": clock.now(), "why": AFTER_TOUCH})


def decide(batch_ids: Sequence[int], *, send_again: bool) -> int:
    """Settle failed or unconfirmed batches as staff decided: send again, or treat as sent. Returns how many.

    An unconfirmed batch may have been taken by the provider; sending again accepts a possible second copy.
    """
    now, actor = clock.now(), audit.current().actor
    target = BatchState.READY if send_again else BatchState.ACCEPTED
    undecided = (BatchState.FAILED, BatchState.UNCERTAIN)
    open_states = [state for state in undecided if target in BATCH_MOVES[state]]
    rows = db.session.execute(
        update(Batch)
        .where(Batch.id.in_(list(batch_ids)), Batch.state.in_(open_states), Batch.transport != "none")
        .values(
            state=target,
            not_before=now if send_again else Batch.not_before,
            too_late_at=None if send_again else Batch.too_late_at,
            state_at=now,
            settled_by=actor,
        )
        .returning(Batch.id, Batch.kind, Batch.attempts)
    ).all()
    if not rows:
        raise Conflict("None of these batches needs a decision any more.")
    for row in rows:
        audit.record(
            "batch.decided", object_type="batch", object_id=row.id, detail={"send_again": send_again}
        )
        alerts.close(f"batch:{row.id}")
        if send_again:
            enqueue_delivery(row.id, kind=row.kind, number=row.attempts)
    return len(rows)


def hold(*, sequence_id: int | None = None, campaign_id: int | None = None) -> None:
    """Hold the ready batches of a paused sequence or campaign."""
    _move_all(BatchState.READY, BatchState.HELD, sequence_id=sequence_id, campaign_id=campaign_id)


def unhold(*, sequence_id: int | None = None, campaign_id: int | None = None) -> None:
    """Make held batches ready and queue their delivery."""
    _queue_delivery(
        [
            row.id
            for row in _move_all(
                BatchState.HELD, BatchState.READY, sequence_id=sequence_id, campaign_id=campaign_id
            )
        ]
    )


_RELEASE_HELD = text("""
    with freed as (
        update batch b set content_version_id = :version, state = 'ready', error = null, not_before = :now, state_at = :now
        from content_version v
        where v.id = b.content_version_id and v.item_id = :item and v.language = :language
            and b.state = 'held' and b.error like 'content%'
        returning b.id, b.kind, b.attempts
    ), pinned as (
        update message m set content_version_id = :version from freed f where m.batch_id = f.id and m.state is null
    )
    select id, kind, attempts from freed
""")


def release_held(*, version_id: int, item_id: int, language: str) -> int:
    """Make batches that were held for their content ready, with the version approved now; return how many."""
    freed = db.session.execute(
        _RELEASE_HELD, {"version": version_id, "item": item_id, "language": language, "now": clock.now()}
    ).all()
    for row in freed:
        enqueue_delivery(row.id, kind=row.kind, number=row.attempts)
    return len(freed)


_HELD_CONTENT = text("""
    select distinct i.key, v.item_id, v.language from batch b join content_version v on v.id = b.content_version_id
    join content_item i on i.id = v.item_id where b.state = 'held' and b.error like 'content%'
""")


def release_approved() -> int:
    """Make every batch ready that is held for content of which an approved version exists now; return how many.

    An approval releases them, too. It does not find a batch that is held afterwards, because its broadcast was paused
    when the newer version was approved.
    """
    held = db.session.execute(_HELD_CONTENT).all()
    approved = content.newest_approved({row.key for row in held}, now=clock.now()) if held else {}
    return sum(
        release_held(version_id=approved[row.key, row.language], item_id=row.item_id, language=row.language)
        for row in held
        if (row.key, row.language) in approved
    )


def cancel(*, campaign_id: int) -> int:
    """Cancel the unsent batches of a campaign; return how many."""
    return len(_move_all(BatchState.READY, BatchState.CANCELLED, campaign_id=campaign_id)) + len(
        _move_all(BatchState.HELD, BatchState.CANCELLED, campaign_id=campaign_id)
    )


def _move_all(
    old: BatchState, new: BatchState, *, sequence_id: int | None = None, campaign_id: int | None = None
) -> Sequence[Any]:
    which = Batch.sequence_id == sequence_id if sequence_id is not None else Batch.campaign_id == campaign_id
    return db.session.execute(
        update(Batch)
        .where(which, Batch.state == old)
        .values(state=new, state_at=clock.now())
        .returning(Batch.id, Batch.kind, Batch.attempts)
    ).all()
