"""Provider events: stored at once, applied by a job; set-based, in any order, safe to repeat."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text

from crm.consent import suppressions
from crm.consent.rules import SuppressionScope
from crm.consent.suppressions import NewSuppression
from crm.contacts.addresses import address_index
from crm.core import clock, queue
from crm.core.db import after_commit, bigint_array, db, execute_raw, text_array
from crm.core.failpoints import failpoint
from crm.mailer import EventKind
from crm.mailer.sendgrid_events import Event, parse
from crm.tracking import rules

SWEEP_LIMIT = 200

_STORE = text("insert into webhook_receipt (received_at, body) values (:now, :body) returning id")
_LOCK_OPEN = text(
    "select body, received_at from webhook_receipt where id = :id and applied_at is null for update skip locked"
)
_DONE = text("update webhook_receipt set applied_at = :now, error = :error where id = :id")
# An event is stored once, and a message shows its worst event. States only get worse, so any order of events ends in the
# same state.
_STORE_EVENTS = """
    with kept as (
        insert into provider_event (event_id, message_id, kind, at, received_at, detail)
        select e.event_id, e.message_id, e.kind, e.at, :received, e.detail
        from unnest(:ids::text[], :messages::bigint[], :kinds::text[], :ats::timestamptz[],
            :details::text[]) as e(event_id, message_id, kind, at, detail)
        on conflict (event_id) do nothing
        returning event_id, message_id, kind, at, array_position(:order::text[], kind) as rank
    ), worst as (
        select message_id, max(rank) as rank, max(at) as at from kept
        where message_id is not null and rank is not null group by message_id order by message_id
    ), shown as (
        update message m set state = (:order::text[])[e.rank], state_at = e.at from worst e
        where m.id = e.message_id and coalesce(array_position(:order::text[], m.state), 0) < e.rank
    )
    select (select count(*) from kept) as fresh,
        array(select event_id from kept where kind = any(:acting::text[])) as acting
"""
_ORDER, _ACTING = [kind.value for kind in rules.ORDER], [kind.value for kind in rules.ACTING]
_OWNERS = text("select id, contact_id from message where id = any(:messages)")
_SOFT = text("""
    select c.id, c.email_index from contact c
    where c.id in (select contact_id from message where id = any(:messages)) and c.email_index is not null
        and (select count(distinct e.message_id) from provider_event e join message m on m.id = e.message_id
             where m.contact_id = c.id and e.kind = 'blocked' and e.at > :since) >= :limit
""")


def store(body: bytes) -> int:
    """Store a verified post as received and queue its processing; return its id."""
    receipt_id = store_only(body)
    queue.enqueue("tracking.apply", receipt_id)
    return receipt_id


def store_only(body: bytes) -> int:
    """Store a post without queueing a job; return its id."""
    return int(db.session.execute(_STORE, {"now": clock.now(), "body": body}).scalar_one())


def apply(receipt_id: int) -> int:
    """Apply one stored post; return how many of its events were new. A post that is not a list of events is set aside."""
    now = clock.now()
    taken = db.session.execute(_LOCK_OPEN, {"id": receipt_id}).first()
    if taken is None:
        return 0
    error, events = None, list[Event]()
    try:
        events = parse(bytes(taken.body))
    except ValueError:
        error = "not a list of events"
    fresh, acting = _store_events(events, received=taken.received_at)
    _act(acting, now)
    db.session.execute(_DONE, {"id": receipt_id, "now": now, "error": error})
    failpoint("applied")
    return fresh


def run_sweep() -> int:
    """Queue every post that was stored and not applied; return how many."""
    ids = db.session.scalars(
        text("select id from webhook_receipt where applied_at is null order by id limit :limit"),
        {"limit": SWEEP_LIMIT},
    ).all()
    after_commit(lambda: queue.push(queue.JobRequest("tracking.apply", (receipt_id,)) for receipt_id in ids))
    return len(ids)


def _store_events(events: Sequence[Event], *, received: datetime) -> tuple[int, list[Event]]:
    """Store new events; return how many, and those of them that have consequences.

    In a fixed order, so that two workers cannot deadlock.
    """
    unique = {event.event_id: event for event in events}
    if not unique:
        return 0, []
    ordered = [unique[event_id] for event_id in sorted(unique)]
    kept = execute_raw(
        _STORE_EVENTS,
        {
            "ids": text_array([event.event_id for event in ordered]),
            "messages": bigint_array([event.message_id for event in ordered]),
            "kinds": text_array([event.kind for event in ordered]),
            "ats": text_array([event.at.isoformat() for event in ordered]),
            "details": text_array([event.detail for event in ordered]),
            "received": received,
            "order": _ORDER,
            "acting": _ACTING,
        },
    ).one()
    return kept.fresh, [unique[event_id] for event_id in kept.acting]


def _act(fresh: Sequence[Event], now: datetime) -> None:
    """Suppress the addresses of bad events; `crm.consent` publishes the suppressions."""
    _suppress([event for event in fresh if event.kind in rules.SUPPRESS and _index(event.email)])
    blocked = (event.message_id for event in fresh if event.kind is EventKind.BLOCKED)
    _suppress_soft([message_id for message_id in blocked if message_id is not None], now)


def _suppress(events: Sequence[Event]) -> None:
    if not events:
        return
    messages = [event.message_id for event in events if event.message_id is not None]
    owners = {row.id: row.contact_id for row in db.session.execute(_OWNERS, {"messages": messages})}
    suppressions.suppress_many(
        NewSuppression(
            address_index=address_index(event.email),
            scope=rules.SUPPRESS[event.kind],
            reason=event.kind.value,
            source="provider",
            message_id=event.message_id,
            contact_id=owners.get(event.message_id or 0),
        )
        for event in events
    )


def _suppress_soft(messages: Sequence[int], now: datetime) -> None:
    """Suppress addresses that blocked mail again and again, like hard bounces."""
    if not messages:
        return
    since = now - timedelta(days=rules.SOFT_DAYS)
    people = db.session.execute(
        _SOFT, {"messages": messages, "since": since, "limit": rules.SOFT_LIMIT}
    ).all()
    suppressions.suppress_many(
        NewSuppression(
            address_index=bytes(row.email_index),
            scope=SuppressionScope.ALL,
            reason="soft_bounces",
            source="provider",
            contact_id=row.id,
        )
        for row in people
    )


def _index(email: str) -> bytes | None:
    """Return the blind index of an address as the provider spelled it; None for text that is no address."""
    return address_index(email) if "@" in email and len(email) < 320 else None
