"""Reading people: one timeline from many tables, and finding somebody by what the front desk has at hand."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CompoundSelect, Select, func, literal, select, text, tuple_, union_all

from crm.contacts.addresses import address_index
from crm.contacts.models import Activity, Contact, Tag
from crm.contacts.rules import Unfit, clean_phone
from crm.core import crypto, paging
from crm.core.db import db
from crm.core.paging import Page

Source = Callable[[Sequence[int]], Select[Any]]
"""Ids of one person's records -> a select of six columns: at, id, kind, actor, text (encrypted), detail (JSONB)."""

Only = Mapping[str, Collection[str] | None]
"""Which lines are wanted: name of a source -> kinds, or None for all of that source."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a timeline. `source` names the table it comes from, `id` its row there."""

    at: datetime
    source: str
    id: int
    kind: str
    actor: str | None
    text: str | None
    detail: dict[str, Any] | None


def _activity(records: Sequence[int]) -> Select[Any]:
    return select(
        Activity.at, Activity.id, Activity.kind, Activity.actor, Activity.text, Activity.detail
    ).where(Activity.contact_id.in_(records))


_sources: Mapping[str, Source] = {"activity": _activity}


def tell_from(sources: Mapping[str, Source]) -> None:
    """Add features' own tables to every timeline: name -> source. Called once, while the app is wired."""
    global _sources
    _sources = {"activity": _activity, **sources}


_RECORDS = text("""
    with recursive record as (
        select cast(:contact_id as bigint) as id, 1 as step
        union all
        select c.id, r.step + 1 from contact c join record r on c.merged_into_id = r.id where r.step < 20
    )
    select id from record order by id
""")


def records(contact_id: int) -> list[int]:
    """Return the ids of a person's record and of all that went up in it."""
    return list(db.session.scalars(_RECORDS, {"contact_id": contact_id}))


def timeline(
    *, contact_id: int, cursor: str | None = None, limit: int = 50, only: Only | None = None
) -> Page[Line]:
    """Return what happened with a person, newest first, with what is kept under records that went up in theirs.

    Two statements; each table gives at most `limit` + 1 rows.
    """
    after = paging.decode(cursor, (datetime, str, int)) if cursor else None
    theirs = records(contact_id)
    branches = [
        _branch(name, source(theirs), after, limit, kinds=only[name] if only else None)
        for name, source in _sources.items()
        if only is None or name in only
    ]
    every = union_all(*branches).subquery()
    newest = (
        select(every).order_by(every.c.at.desc(), every.c.source.desc(), every.c.id.desc()).limit(limit + 1)
    )
    lines = [
        Line(
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
    shown = lines[:limit]
    last = shown[-1] if len(lines) > limit else None
    return Page(rows=shown, next=paging.encode(last.at, last.source, last.id) if last else None)


def _branch(
    name: str,
    rows: Select[Any],
    after: tuple[Any, ...] | None,
    limit: int,
    *,
    kinds: Collection[str] | None = None,
) -> Select[Any]:
    at, number, kind, actor, words, detail = rows.selected_columns
    if kinds is not None:
        rows = rows.where(kind.in_(sorted(kinds)))
    if after is not None:
        rows = rows.where(tuple_(at, literal(name), number) < tuple_(*map(literal, after)))
    newest = rows.with_only_columns(
        at.label("at"),
        literal(name).label("source"),
        number.label("id"),
        kind.label("kind"),
        actor.label("actor"),
        words.label("text"),
        detail.label("detail"),
    )
    return select(newest.order_by(at.desc(), number.desc()).limit(limit + 1).subquery())


def tags_of(contact_id: int) -> Sequence[str]:
    """Return a person's tags, by name."""
    return db.session.scalars(select(Tag.tag).where(Tag.contact_id == contact_id).order_by(Tag.tag)).all()


SHORTEST = 2  # characters of a name prefix


def search(text: str, *, limit: int = 20) -> Sequence[Contact]:
    """Find people by email (whole, or how it begins), phone number, or how their names begin; at most `limit`."""
    ids = matching(text, limit=limit)
    if ids is None:
        return []
    found = select(Contact).where(Contact.id.in_(ids))
    return db.session.scalars(found.order_by(_LAST, _FIRST, Contact.id).limit(limit)).all()


def matching(text: str, *, limit: int) -> CompoundSelect[int] | None:
    """Select the ids of those whom `search` looks through, some of them twice; None where the text says nobody.

    Each way of looking reads at most `limit` rows in the order of an index, however many people there are.
    """
    text = " ".join(text.split()).lower()
    ways = [
        select(Contact.id)
        .where(Contact.merged_into_id.is_(None), Contact.erased_at.is_(None), *conditions)
        .order_by(*order)
        .limit(limit)
        .subquery()
        for conditions, order in (_ways(text) if len(text) >= SHORTEST else ())
    ]
    return union_all(*(select(way.c.id) for way in ways)) if ways else None


# Sorted by code points, an index gives both: what begins so, and in its order.
_FIRST = func.lower(Contact.first_name).collate("C")
_LAST = func.lower(Contact.last_name).collate("C")
_Way = tuple[tuple[Any, ...], tuple[Any, ...]]  # conditions, order


def _ways(text: str) -> list[_Way]:
    if "@" in text:
        return [
            ((Contact.email_index == address_index(text),), (Contact.id,)),
            ((Contact.email.collate("C").startswith(text, autoescape=True),), (Contact.email.collate("C"),)),
        ]
    if re.fullmatch(r"[+(\d][\d ().-]{6,}", text):
        try:
            phone = clean_phone(text)
        except Unfit:
            return []
        return [((Contact.phone_index == crypto.blind_index("phone", phone),), (Contact.id,))]
    by_first, by_last = (_FIRST, _LAST, Contact.id), (_LAST, _FIRST, Contact.id)
    ways: list[_Way] = [
        ((_FIRST.startswith(text, autoescape=True),), by_first),
        ((_LAST.startswith(text, autoescape=True),), by_last),
    ]
    if " " in text:
        one, other = text.replace(",", "").rsplit(" ", 1)
        ways += [  # along the index that begins with what is typed longer, which fewer people share
            (
                (_FIRST.startswith(a, autoescape=True), _LAST.startswith(b, autoescape=True)),
                by_first if len(a) > len(b) else by_last,
            )
            for a, b in ((one, other), (other, one))
        ]
    return ways
