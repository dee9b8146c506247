"""Retention: deletes expired records in slices. The periods are in `rules.KEPT_FOR`."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import text

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db, transaction
from crm.core.errors import Conflict
from crm.privacy import rules, service
from crm.staff.keys import api_keys

SLICE = 1_000  # rows in one transaction
PEOPLE_SLICE = 50  # people in one transaction


def _rows(statement: str) -> Callable[[datetime], int]:
    prepared = text(statement)

    def run(before: datetime) -> int:
        done = db.session.execute(prepared, {"before": before, "limit": SLICE})
        return int(done.rowcount)  # type: ignore[attr-defined]

    return run


def _replies(_before: datetime) -> int:
    api_keys.forget_replies()
    return 0


_SPAM = text("""
    select c.id from lead l join contact c on c.id = l.contact_id
    where l.stage = 'spam' and l.closed_at < :before and c.erased_at is null and c.merged_into_id is null
        and not exists (select 1 from lead o where o.contact_id = c.id and o.stage <> 'spam')
        and not exists (select 1 from lead o where o.contact_id = c.id and o.closed_at >= :before)
        and not exists (select 1 from consent_state s where s.contact_id = c.id and s.granted)
        and not exists (select 1 from portal_person p where p.contact_id = c.id)
    order by l.id limit :limit
""")


def _spam(before: datetime) -> int:
    found = set(db.session.scalars(_SPAM, {"before": before, "limit": PEOPLE_SLICE}))
    return sum(_erased(contact_id) for contact_id in found)


def _erased(contact_id: int) -> bool:
    try:
        service.erase(contact_id=contact_id, reason="mistake")
    except Conflict:  # erased by another process, or a merged record had care
        return False
    return True


_EXPIRED = """
    with old as (select id from {table} where expires_at < :before order by id limit :limit)
    delete from {table} using old where {table}.id = old.id
"""

TASKS: Mapping[str, tuple[Callable[[datetime], int], ...]] = {
    "replies": (_replies,),
    "receipts": (
        _rows("""
            with old as (select id from webhook_receipt where applied_at < :before order by id limit :limit)
            delete from webhook_receipt using old where webhook_receipt.id = old.id
        """),
    ),
    "answers of mailboxes": (
        _rows("""
            with old as (
                select event_id from provider_event where detail is not null and received_at < :before
                order by received_at limit :limit)
            update provider_event e set detail = null, address_index = null from old where e.event_id = old.event_id
        """),
    ),
    "links": (_rows(_EXPIRED.format(table="sign_in_link")), _rows(_EXPIRED.format(table="portal_link"))),
    "sign-ins": (
        _rows("""
            with old as (select key from secret_try where forget_at < :before order by forget_at limit :limit)
            delete from secret_try using old where secret_try.key = old.key
        """),
        _rows("""
            with old as (select id from staff_session where begun_at < :before order by id limit :limit)
            delete from staff_session using old where staff_session.id = old.id
        """),
    ),
    "undo": (
        _rows("""
            with old as (select id from staff_act where undo_until < :before order by undo_until limit :limit)
            delete from staff_act using old where staff_act.id = old.id
        """),
    ),
    "acts": (
        _rows("""
            with old as (select id from bulk_run where created_at < :before order by id limit 20),
                gone as (delete from bulk_item using old where bulk_item.run_id = old.id)
            delete from bulk_run using old where bulk_run.id = old.id and cast(:limit as int) > 0
        """),
    ),
    "spam": (_spam,),
}


def purge() -> None:
    """Delete all expired records, each slice in a transaction of its own."""
    for name, parts in TASKS.items():
        for part in parts:
            _all_of(name, part)


def _all_of(name: str, part: Callable[[datetime], int]) -> None:
    total, last = 0, 1
    while last:
        with transaction():
            last = part(clock.now() - rules.KEPT_FOR[name])
            total += last
            if last == 0 and total:
                audit.record("retention.purge", detail={"what": name, "rows": total})
