"""Contact search and the timeline of one person, read from many tables."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CompoundSelect, Select, func, literal, select, text, tuple_, union_all

from crm.contacts.addresses import address_index
from crm.contacts.models import Activity, Contact, Tag
from crm.contacts.rules import InvalidValue, clean_phone
from crm.core import crypto, current, paging
from crm.core.db import db
from crm.core.paging import Page

EntryFilter = Mapping[str, Collection[str] | None]
"""Which entries to return: source name -> kinds, or None for every kind of that source."""


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    """One entry of a timeline. `source` names the table it comes from, `id` its row there."""

    at: datetime
    source: str
    id: int
    kind: str
    actor: str | None
    text: str | None
    detail: dict[str, Any] | None


def activity_source(record_ids: Sequence[int]) -> Select[Any]:
    """Select the activities of these records as timeline entries."""
    return select(
        Activity.at, Activity.id, Activity.kind, Activity.actor, Activity.text, Activity.detail
    ).where(Activity.contact_id.in_(record_ids))


_RECORDS = text("""
    with recursive record as (
        select cast(:contact_id as bigint) as id, 1 as step
        union all
        select c.id, r.step + 1 from contact c join record r on c.merged_into_id = r.id where r.step < 20
    )
    select id from record order by id
""")


def record_ids(contact_id: int) -> list[int]:
    """Return the ids of a person's record and of every record merged into it."""
    return list(db.session.scalars(_RECORDS, {"contact_id": contact_id}))


def timeline(
    *, contact_id: int, cursor: str | None = None, limit: int = 50, only: EntryFilter | None = None
) -> Page[TimelineEntry]:
    """Return a person's timeline, newest first, including the entries of records merged into theirs.

    Uses two statements; each table returns at most `limit` + 1 rows.
    """
    after = paging.decode(cursor, (datetime, str, int)) if cursor else None
    ids = record_ids(contact_id)
    branches = [
        _branch(name, source(ids), after, limit, kinds=only[name] if only else None)
        for name, source in current.services().timeline_sources.items()
        if only is None or name in only
    ]
    every = union_all(*branches).subquery()
    newest = (
        select(every).order_by(every.c.at.desc(), every.c.source.desc(), every.c.id.desc()).limit(limit + 1)
    )
    entries = [
        TimelineEntry(
            at=row.at,
            source=row.source,
            id=row.id,
            kind=row.kind,
            actor=row.actor,
            text=row.text,
            detail=row.detail,
        )
        for row in db.session.execute(newest)
    ]
    shown = entries[:limit]
    last = shown[-1] if len(entries) > limit else None
    return Page(rows=shown, next=paging.encode(last.at, last.source, last.id) if last else None)


def _branch(
    name: str,
    rows: Select[Any],
    after: tuple[Any, ...] | None,
    limit: int,
    *,
    kinds: Collection[str] | None = None,
) -> Select[Any]:
    at, row_id, kind, actor, body, detail = rows.selected_columns
    if kinds is not None:
        rows = rows.where(kind.in_(sorted(kinds)))
    if after is not None:
        rows = rows.where(tuple_(at, literal(name), row_id) < tuple_(*map(literal, after)))
    newest = rows.with_only_columns(
        at.label("at"),
        literal(name).label("source"),
        row_id.label("id"),
        kind.label("kind"),
        actor.label("actor"),
        body.label("text"),
        detail.label("detail"),
    )
    return select(newest.order_by(at.desc(), row_id.desc()).limit(limit + 1).subquery())


def tags_of(contact_id: int) -> Sequence[str]:
    """Return a person's tags in alphabetical order."""
    return db.session.scalars(select(Tag.tag).where(Tag.contact_id == contact_id).order_by(Tag.tag)).all()


SHORTEST_PREFIX = 2  # characters of a name


def matching_ids(text: str, *, limit: int) -> CompoundSelect[int] | None:
    """Select the ids of people by email address, phone number or name, also by their beginnings; None when nothing can match.

    An id may come more than once.

    Each lookup reads at most `limit` rows in the order of an index, however many contacts are stored.
    """
    text = " ".join(text.split()).lower()
    lookups = [
        select(Contact.id)
        .where(Contact.merged_into_id.is_(None), Contact.erased_at.is_(None), *conditions)
        .order_by(*order)
        .limit(limit)
        .subquery()
        for conditions, order in (_lookups(text) if len(text) >= SHORTEST_PREFIX else ())
    ]
    return union_all(*(select(lookup.c.id) for lookup in lookups)) if lookups else None


# An index sorted by code points serves both the prefix match and the order.
_FIRST = func.lower(Contact.first_name).collate("C")
_LAST = func.lower(Contact.last_name).collate("C")
_Lookup = tuple[tuple[Any, ...], tuple[Any, ...]]  # conditions, order


def _lookups(text: str) -> list[_Lookup]:
    if "@" in text:
        return [
            ((Contact.email_index == address_index(text),), (Contact.id,)),
            ((Contact.email.collate("C").startswith(text, autoescape=True),), (Contact.email.collate("C"),)),
        ]
    if re.fullmatch(r"[+(\d][\d ().-]{6,}", text):
        try:
            phone = clean_phone(text)
        except InvalidValue:
            return []
        return [((Contact.phone_index == crypto.blind_index("phone", phone),), (Contact.id,))]
    by_first, by_last = (_FIRST, _LAST, Contact.id), (_LAST, _FIRST, Contact.id)
    lookups: list[_Lookup] = [
        ((_FIRST.startswith(text, autoescape=True),), by_first),
        ((_LAST.startswith(text, autoescape=True),), by_last),
    ]
    if " " in text:
        one, other = text.replace(",", "").rsplit(" ", 1)
        lookups += [  # use the index that starts with the longer word: fewer people share it
            (
                (_FIRST.startswith(a, autoescape=True), _LAST.startswith(b, autoescape=True)),
                by_first if len(a) > len(b) else by_last,
            )
            for a, b in ((one, other), (other, one))
        ]
    return lookups
