"""Suppressed addresses. Set-based: one batch of provider events may suppress a thousand of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text, update

from crm.consent.events import AddressesSuppressed
from crm.consent.models import Suppression
from crm.consent.rules import SuppressionScope
from crm.core import clock
from crm.core.db import db
from crm.core.events import publish


@dataclass(frozen=True, kw_only=True)
class NewSuppression:
    """One address to suppress."""

    address_index: bytes
    scope: SuppressionScope
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


def insert_suppressions(stops: Iterable[NewSuppression], *, at: datetime | None = None) -> Sequence[Row[Any]]:
    """Insert the suppressions that are not active yet, in one statement; return (id, address_index, scope, reason)."""
    # sorted, so that two batches with common addresses cannot deadlock
    first = {(stop.address_index, stop.scope): stop for stop in reversed(list(stops))}
    asked = [first[key] for key in sorted(first)]
    if not asked:
        return []
    columns = ("address_index", "scope", "reason", "source", "message_id")
    given = {name: [getattr(stop, name) for stop in asked] for name in columns}
    return db.session.execute(_ADD, {**given, "now": at or clock.now()}).all()


def publish_suppressions(
    written: Sequence[Row[Any]], *, stops: Iterable[NewSuppression] = (), exclude: Iterable[int] = ()
) -> None:
    """Publish one event per scope and reason for the people with these addresses, except those in `exclude`."""
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
        if affected := tuple(sorted(people - set(exclude))):
            publish(AddressesSuppressed(contact_ids=affected, scope=SuppressionScope(scope), reason=reason))


def suppress(
    *,
    address_index: bytes,
    scope: SuppressionScope,
    reason: str,
    source: str,
    message_id: int | None = None,
    contact_id: int | None = None,
) -> bool:
    """Suppress one address; return whether it is new. Repeating it changes nothing."""
    stop = NewSuppression(
        address_index=address_index,
        scope=scope,
        reason=reason,
        source=source,
        message_id=message_id,
        contact_id=contact_id,
    )
    return suppress_many([stop]) == 1


def suppress_many(stops: Iterable[NewSuppression]) -> int:
    """Suppress many addresses at once, in two statements; return how many are new."""
    wanted = list(stops)
    written = insert_suppressions(wanted)
    publish_suppressions(written, stops=wanted)
    return len(written)


def lift_suppressions(address_indexes: Sequence[bytes], *, by: str, since: datetime | None = None) -> int:
    """Lift marketing suppressions of these addresses; return how many. The rows stay as history.

    `since` selects only suppressions set at exactly that time.
    """
    lifting = (
        update(Suppression)
        .where(
            Suppression.address_index.in_(address_indexes),
            Suppression.scope == SuppressionScope.MARKETING,
            Suppression.lifted_at.is_(None),
        )
        .values(lifted_at=clock.now(), lifted_by=by)
        .returning(Suppression.id)
    )
    if since is not None:
        lifting = lifting.where(Suppression.at == since)
    return len(db.session.execute(lifting).all())
