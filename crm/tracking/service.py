"""Provider events: stored at once, applied by a job; set-based, in any order, safe to repeat.

A post that failed is tried again event by event, so that one event that cannot be applied does not keep back the others.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import InterfaceError, OperationalError

from crm.consent import suppressions
from crm.consent.rules import SuppressionScope
from crm.consent.suppressions import NewSuppression
from crm.contacts.addresses import address_index
from crm.core import clock, crypto, queue
from crm.core.db import after_commit, as_json, bigint_array, db, execute_raw, text_array
from crm.core.events import publish
from crm.core.failpoints import failpoint
from crm.mailer import EventKind
from crm.mailer.sendgrid_events import Event, Unclear, parse
from crm.messages.events import EmailsDelivered
from crm.staff import alerts
from crm.tracking import rules

SWEEP_LIMIT = 200

_STORE = "insert into webhook_receipt (received_at, body, sealed) values (:now, :body, true) returning id"
_LOCK_OPEN = text("""
    select body, sealed, received_at, failures from webhook_receipt
    where id = :id and applied_at is null for update skip locked
""")
_DONE = """
    update webhook_receipt set applied_at = :now, error = :error, unclear = :unclear where id = :id
"""
_FAILED = text("""
    update webhook_receipt set failures = failures + 1, error = :error,
        applied_at = case when failures + 1 >= :most then cast(:now as timestamptz) end
    where id = :id and applied_at is null returning applied_at is not null as set_aside
""")
# An event is stored once, and a message shows its worst event. States only get worse, so any order of events ends in the
# same state.
_STORE_EVENTS = """
    with kept as (
        insert into provider_event (event_id, message_id, kind, at, received_at, detail, address_index)
        select e.event_id, e.message_id, e.kind, e.at, :received, e.detail, e.address_index
        from unnest(:ids::text[], :messages::bigint[], :kinds::text[], :ats::timestamptz[],
            :details::text[], :addresses::bytea[]) as e(event_id, message_id, kind, at, detail, address_index)
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
_OWNERS = text("""
    select m.id, m.contact_id, c.email_index, b.provider_id
    from message m join contact c on c.id = m.contact_id join batch b on b.id = m.batch_id
    where m.id = any(:messages)
""")
_SOFT = text("""
    select address_index from provider_event
    where kind = 'blocked' and address_index = any(:addresses) and at > :since
    group by address_index having count(distinct coalesce(message_id::text, event_id)) >= :limit
""")
_SAY_WHY_DROPPED = text("""
    update message m set reason = d.reason
    from unnest(cast(:messages as bigint[]), cast(:reasons as text[])) as d(message_id, reason)
    where m.id = d.message_id and m.state = 'dropped'
""")


def store(body: bytes) -> int:
    """Store a verified post as received and queue its processing; return its id."""
    receipt_id = store_only(body)
    queue.enqueue("tracking.apply", receipt_id)
    return receipt_id


def store_only(body: bytes) -> int:
    """Store a post, encrypted, without queueing a job; return its id."""
    sealed = crypto.encrypt(zlib.compress(body, level=1))
    return int(execute_raw(_STORE, {"now": clock.now(), "body": sealed}).scalar_one())


def apply(receipt_id: int) -> int:
    """Apply one stored post; return how many of its events were new. What was not understood is counted on the receipt."""
    now = clock.now()
    taken = db.session.execute(_LOCK_OPEN, {"id": receipt_id}).first()
    if taken is None:
        return 0
    post = parse(_body(taken), now=taken.received_at, make_id=_made_id)
    unclear, events = post.unclear, _own(post.events)
    if taken.failures:
        fresh = _apply_singly(events, received=taken.received_at, now=now, unclear=unclear)
    else:
        fresh = _apply_all(events, received=taken.received_at, now=now, unclear=unclear)
    error = None if post.events or not unclear else "nothing in it was understood"
    counts = {code.value: number for code, number in unclear.items()}
    execute_raw(_DONE, {"id": receipt_id, "now": now, "error": error, "unclear": as_json(counts or None)})
    if unclear:
        _alert_unclear()
    failpoint("applied")
    return fresh


def note_failure(receipt_id: int, *, error: str) -> bool:
    """Count a failed try of a post; return whether it was set aside, with an alert, because it was the last."""
    given = {"id": receipt_id, "error": error, "now": clock.now(), "most": rules.MOST_FAILURES}
    set_aside = db.session.execute(_FAILED, given).scalar()
    if set_aside:
        alerts.raise_alert(
            key=f"events-failed:{receipt_id}",
            level="danger",
            text=f"A post of events from the mail provider failed {rules.MOST_FAILURES} times ({error}) and was set aside. "
            "Bounces and opt-outs in it may be missing. Fix the cause, then try again on the page Mail.",
            link="/console/mail#events",
        )
    return bool(set_aside)


def retry_failed() -> int:
    """Open every post that was set aside for another round of tries; return how many. The sweep queues them."""
    ids = db.session.scalars(
        text("""
            update webhook_receipt set applied_at = null, failures = 1
            where failures >= :most and applied_at is not null returning id
        """),
        {"most": rules.MOST_FAILURES},
    ).all()
    for receipt_id in ids:
        alerts.close(f"events-failed:{receipt_id}")
    return len(ids)


def run_sweep() -> int:
    """Queue every post that was stored and not applied; return how many."""
    ids = db.session.scalars(
        text("select id from webhook_receipt where applied_at is null order by id limit :limit"),
        {"limit": SWEEP_LIMIT},
    ).all()
    after_commit(lambda: queue.push(queue.JobRequest("tracking.apply", (receipt_id,)) for receipt_id in ids))
    return len(ids)


def _body(receipt: Row[Any]) -> bytes:
    body = bytes(receipt.body)
    return zlib.decompress(crypto.decrypt(body)) if receipt.sealed else body


def _made_id(words: str) -> str:
    """Return an id for an event without one. It is keyed, because the text holds an address."""
    return f"made-{crypto.blind_index('event', words).hex()}"


def _alert_unclear() -> None:
    alerts.raise_alert(
        key="events-unclear",
        level="warning",
        text="Some events from the mail provider were not understood. The page Mail says which and what was done.",
        link="/console/mail#events",
    )


def _apply_singly(
    events: Iterable[Event], *, received: datetime, now: datetime, unclear: Counter[Unclear]
) -> int:
    """Apply each event alone and count those that the database or a reaction refuses."""
    fresh = 0
    for event in events:
        try:
            with db.session.begin_nested():
                fresh += _apply_all([event], received=received, now=now, unclear=unclear)
        except (OperationalError, InterfaceError):
            raise  # the database is in the way, not the event
        except Exception:
            unclear[Unclear.NOT_APPLIED] += 1
    return fresh


def _apply_all(
    events: Sequence[Event], *, received: datetime, now: datetime, unclear: Counter[Unclear]
) -> int:
    """Store new events with their consequences; return how many were new."""
    fresh, acting = _store_events(events, received=received)
    delivered = {one.message_id for one in events if one.kind is EventKind.DELIVERED and one.message_id}
    if fresh and delivered:
        publish(EmailsDelivered(message_ids=tuple(sorted(delivered))))
    if acting:
        _suppress(acting, unclear)
        _suppress_soft([event for event in acting if event.kind is EventKind.BLOCKED], now)
        _say_why_dropped(acting)
    return fresh


def _own(events: Sequence[Event]) -> Sequence[Event]:
    """Remove the message id from events about mail that another installation sent from the same provider account.

    Both installations number their messages, so one of its ids may equal one of ours. An event belongs to it if the
    call and the address both differ from those of our message. The address is still suppressed.
    """
    named = [event for event in events if event.call is not None and event.message_id is not None]
    if not named:
        return events
    owners = _owners(named)

    def is_foreign(event: Event) -> bool:
        owner = owners.get(event.message_id or 0)
        if event.call is None or owner is None or owner.provider_id in (None, event.call):
            return False
        return bool(event.email) and owner.email_index != address_index(event.email)

    return [event._replace(message_id=None) if is_foreign(event) else event for event in events]


def _store_events(events: Sequence[Event], *, received: datetime) -> tuple[int, list[Event]]:
    """Store new events; return how many, and those of them that have consequences.

    In a fixed order, so that two workers cannot deadlock.
    """
    unique = {event.event_id: event for event in events}
    if not unique:
        return 0, []
    ordered = [unique[event_id] for event_id in sorted(unique)]
    given = {"received": received, "order": _ORDER, "acting": _ACTING, **_columns(ordered)}
    kept = execute_raw(_STORE_EVENTS, given).one()
    return kept.fresh, [unique[event_id] for event_id in kept.acting]


def _columns(events: Sequence[Event]) -> dict[str, str]:
    """Return the events as one array per column."""
    return {
        "ids": text_array([event.event_id for event in events]),
        "messages": bigint_array([event.message_id for event in events]),
        "kinds": text_array([event.kind for event in events]),
        "ats": text_array([event.at.isoformat() for event in events]),
        "details": text_array([event.detail for event in events]),
        "addresses": text_array(map(_address_of_blocked, events)),
    }


def _address_of_blocked(event: Event) -> str | None:
    """Return the blind index of the address as PostgreSQL writes bytes, for events that are counted per address."""
    if event.kind is not EventKind.BLOCKED or not event.email:
        return None
    return rf"\x{address_index(event.email).hex()}"


def _owners(events: Iterable[Event]) -> dict[int, Row[Any]]:
    messages = [event.message_id for event in events if event.message_id is not None]
    if not messages:
        return {}
    return {row.id: row for row in db.session.execute(_OWNERS, {"messages": messages})}


def _suppress(events: Sequence[Event], unclear: Counter[Unclear]) -> None:
    """Suppress the addresses of bad events; `crm.consent` publishes the suppressions."""
    bad = [(event, ruling) for event in events if (ruling := rules.suppression(event.kind, event.listed))]
    owners = _owners(event for event, _ in bad)
    stops = []
    for event, (reason, scope) in bad:
        owner = owners.get(event.message_id or 0)
        index = address_index(event.email) if event.email else owner.email_index if owner else None
        if index is None:
            unclear[Unclear.NO_ADDRESS] += 1
            continue
        stops.append(
            NewSuppression(
                address_index=bytes(index),
                scope=scope,
                reason=reason,
                source="provider",
                message_id=None
                if event.listed
                else event.message_id,  # the address was on the list before this email
                contact_id=_concerned(event, owner, bytes(index)),
            )
        )
    suppressions.suppress_many(stops)


def _concerned(event: Event, owner: Row[Any] | None, index: bytes) -> int | None:
    """Return the contact that the suppression concerns as a person, or None if it concerns only the address.

    A complaint or an opt-out is the person's own act. A bounce or a drop is about the address, which may have changed.
    """
    own_act = event.kind in (EventKind.COMPLAINED, EventKind.UNSUBSCRIBED)
    return owner.contact_id if owner is not None and (own_act or owner.email_index == index) else None


def _suppress_soft(blocked: Sequence[Event], now: datetime) -> None:
    """Suppress addresses that blocked mail again and again, like hard bounces. Each address has a count of its own."""
    addresses = [address_index(event.email) for event in blocked if event.email]
    if not addresses:
        return
    since = now - timedelta(days=rules.SOFT_DAYS)
    given = {"addresses": addresses, "since": since, "limit": rules.SOFT_LIMIT}
    suppressions.suppress_many(
        NewSuppression(
            address_index=bytes(index),
            scope=SuppressionScope.ALL,
            reason="soft_bounces",
            source="provider",
        )
        for index in db.session.scalars(_SOFT, given).all()
    )


def _say_why_dropped(events: Sequence[Event]) -> None:
    """Write on the dropped messages which of the provider's lists the address was on."""
    dropped = {
        event.message_id: f"on_list_{event.listed}" for event in events if event.listed and event.message_id
    }
    if dropped:
        given = {"messages": sorted(dropped), "reasons": [dropped[one] for one in sorted(dropped)]}
        db.session.execute(_SAY_WHY_DROPPED, given)
