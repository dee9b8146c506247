"""Addresses we do not write to. Set-based: one batch of provider events may stop a thousand of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text, update

from crm.consent.events import AddressesSuppressed
from crm.consent.models import Suppression
from crm.core import clock
from crm.core.db import db
from crm.core.events import publish

ALL, MARKETING = "all", "marketing"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One address to be stopped. scope: "all" (nothing at all) or "marketing" (all but transactional mail)."""

    address_index: bytes
    scope: str
    reason: str
    source: str
    message_id: int | None = None
    contact_id: int | None = None


_ADD = text("""
    insert into suppression (address_index, scope, reason, source, message_id, at)
    select * from unnest(cast(:address_index as bytea[]), cast(:scope as text[]), cast(:reason as text[]),
        cast(:source as text[]), cast(:message_id as bigint[])) as asked, cast(:now as timestamptz)
    on conflict (address_index, scope) where lifted_at is null do nothing
    returning id, address_index, scope, reason
""")


def add(stops: Iterable[Stop], *, at: datetime | None = None) -> Sequence[Row[Any]]:
    """Write the stops that do not stand yet, in one statement; return (id, address_index, scope, reason) of them."""
    # one order for all writers, so that two batches with common addresses never wait for each other in a circle
    first = {(stop.address_index, stop.scope): stop for stop in reversed(list(stops))}
    asked = [first[key] for key in sorted(first)]
    if not asked:
        return []
    columns = ("address_index", "scope", "reason", "source", "message_id")
    given = {name: [getattr(stop, name) for stop in asked] for name in columns}
    return db.session.execute(_ADD, {**given, "now": at or clock.now()}).all()


def announce(written: Sequence[Row[Any]], *, stops: Iterable[Stop] = (), but: Iterable[int] = ()) -> None:
    """Tell who is known by these addresses: one event per scope and reason. `but`: people who were told otherwise."""
    if not written:
        return
    owners: defaultdict[bytes, set[int]] = defaultdict(set)
    for stop in stops:
        if stop.contact_id is not None:
            owners[stop.address_index].add(stop.contact_id)
    found = db.session.execute(
        text("select id, email_index from contact where email_index = any(:indexes)"),
        {"indexes": [row.address_index for row in written]},
    )
    for contact_id, index in found:
        owners[index].add(contact_id)
    groups: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for row in written:
        groups[row.scope, row.reason] |= owners[row.address_index]
    for (scope, reason), people in groups.items():
        if told := tuple(sorted(people - set(but))):
            publish(AddressesSuppressed(contact_ids=told, scope=scope, reason=reason))


def suppress(
    *,
    address_index: bytes,
    scope: str,
    reason: str,
    source: str,
    message_id: int | None = None,
    contact_id: int | None = None,
) -> bool:
    """Stop one address; return whether it was not stopped before. Repeating it changes nothing."""
    stop = Stop(
        address_index=address_index,
        scope=scope,
        reason=reason,
        source=source,
        message_id=message_id,
        contact_id=contact_id,
    )
    return suppress_many([stop]) == 1


def suppress_many(stops: Iterable[Stop]) -> int:
    """Stop many addresses at once, in two statements however many; return how many were not stopped before."""
    asked = list(stops)
    written = add(asked)
    announce(written, stops=asked)
    return len(written)


def lift(address_indexes: Sequence[bytes], *, by: str, since: datetime | None = None) -> int:
    """Lift "marketing" stops of these addresses, and only those; return how many. The row stays as history.

    `since`: only a stop that was set at exactly that moment.
    """
    lifting = (
        update(Suppression)
        .where(
            Suppression.address_index.in_(address_indexes),
            Suppression.scope == MARKETING,
            Suppression.lifted_at.is_(None),
        )
        .values(lifted_at=clock.now(), lifted_by=by)
        .returning(Suppression.id)
    )
    if since is not None:
        lifting = lifting.where(Suppression.at == since)
    return len(db.session.execute(lifting).all())
