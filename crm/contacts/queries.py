"""Contact search and the timeline of one person, read from many tables."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    case,
    exists,
    func,
    literal,
    select,
    text,
    tuple_,
    union_all,
)

from crm.contacts.addresses import address_index
from crm.contacts.models import STAFF_ADDRESS, Activity, Contact, ContactPhone, ContactSearch, Tag
from crm.contacts.phone_parts import FIRST, beginning_index, ending_index, national
from crm.contacts.rules import (
    InvalidValue,
    clean_phone,
    number_of,
    without_extension,
    without_phone_notes,
)
from crm.core import crypto, current, paging
from crm.core.db import db
from crm.core.paging import Page
from crm.core.text import clean

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


def present() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of contacts that people work with: not merged, not erased, no address of staff."""
    of_staff = exists().where(Tag.contact_id == Contact.id, Tag.tag == STAFF_ADDRESS)
    return Contact.merged_into_id.is_(None), Contact.erased_at.is_(None), ~of_staff


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
LOOKED_AT = 20_000  # keys of one word that a search for several words reads
LONGEST_PARTICLE = 2  # letters
SHORTEST_ENDING = 4  # digits

_FOLDED = text("select fold_name(:typed)")


def matching_ids(typed: str, *, limit: int) -> CompoundSelect[int] | None:
    """Select the ids of people by email address, phone number or name; None when nothing can match.

    A name matches if each typed word is the beginning of one of its words, in any order; accents and apostrophes are
    ignored. A number matches whole, by its last four or more
    digits, or by its first six or more. A merged record gives the id of the record it
    was merged into. An id may be repeated. Each lookup reads a bounded part of an index, however many contacts exist.
    """
    typed = " ".join(clean(typed).split())
    if len(typed) < SHORTEST_PREFIX:
        return None
    lookups = [lookup.limit(limit).subquery() for lookup in _lookups(typed, limit=limit)]
    return union_all(*(select(lookup.c.id) for lookup in lookups)) if lookups else None


_SURVIVOR = case(
    (Contact.merged_into_id.is_(None), Contact.id), else_=func.surviving_contact(Contact.id)
).label("id")


def _lookups(typed: str, *, limit: int) -> list[Select[int]]:
    if "@" in typed:
        return _by_email(typed.lower())
    digits = re.sub(r"\D", "", typed)
    chart = (
        [_people(func.lower(Contact.chart_number) == typed.lower()).order_by(Contact.id)] if digits else []
    )
    number = without_extension(without_phone_notes(typed))
    number_digits = re.sub(r"\D", "", number)
    if re.fullmatch(r"[+(\d][\d ().x/-]*", number) and len(number_digits) >= SHORTEST_ENDING:
        return chart + _by_phone(number, number_digits, limit=limit)
    words = str(db.session.scalar(_FOLDED, {"typed": typed.lower()})).split()
    ways = [words, joined] if (joined := _with_particles(words)) != words else [words]
    return chart + [_by_name(way) for way in ways if way and max(map(len, way)) >= SHORTEST_PREFIX]


def _with_particles(words: Sequence[str]) -> Sequence[str]:
    """Return words with a short one joined to the next: "o brien" as the name O’Brien is stored, "mc donald"."""
    joined: list[str] = []
    begun = ""
    for word in words:
        if len(word) <= LONGEST_PARTICLE:
            begun += word
        else:
            joined.append(begun + word)
            begun = ""
    return [*joined, begun] if begun else joined


def _people(*conditions: ColumnElement[bool]) -> Select[int]:
    return select(_SURVIVOR).where(Contact.erased_at.is_(None), *conditions)


def _by_email(typed: str) -> list[Select[int]]:
    in_order = Contact.email.collate("C")
    return [
        _people(Contact.email_index == address_index(typed)).order_by(Contact.id),
        _people(in_order.startswith(typed, autoescape=True)).order_by(in_order),
    ]


def _by_phone(typed: str, digits: str, *, limit: int) -> list[Select[int]]:
    try:
        return _numbered("phone_index", crypto.blind_index("phone", number_of(clean_phone(typed))))
    except InvalidValue:
        first = national(digits)
        return _by_ending(digits, limit=limit) + (
            _by_beginning(first, limit=limit) if len(first) >= FIRST else []
        )


def _by_ending(digits: str, *, limit: int) -> list[Select[int]]:
    length = 7 if len(digits) >= 7 else 4
    rows = _numbered(f"phone_last{length}_index", ending_index(digits, length))
    if len(digits) == length:
        return rows
    return _fitting(rows, lambda number: number.endswith(digits), limit=limit)


def _by_beginning(digits: str, *, limit: int) -> list[Select[int]]:
    rows = _numbered("phone_first6_index", beginning_index(digits))
    if len(digits) == FIRST:
        return rows
    return _fitting(rows, lambda number: national(number).startswith(digits), limit=limit)


def _numbered(name: str, index: bytes | None) -> list[Select[int]]:
    """Select people by an index of their first phone number, and of their others."""
    other = getattr(ContactPhone, name) == index
    return [
        _people(getattr(Contact, name) == index).order_by(Contact.id),
        _people(other).join(ContactPhone, ContactPhone.contact_id == Contact.id).order_by(Contact.id),
    ]


def _fitting(selects: Sequence[Select[int]], fits: Callable[[str], bool], *, limit: int) -> list[Select[int]]:
    """Read the few numbers with a shorter part in common, for a length that no index has, and compare their digits."""
    found = [
        row.id
        for rows, number in zip(selects, (Contact.phone, ContactPhone.number), strict=True)
        for row in db.session.execute(rows.add_columns(number.label("number")).limit(limit))
        if row.number and fits(number_of(row.number).removeprefix("+"))
    ]
    return [_people(Contact.id.in_(found)).order_by(Contact.id)] if found else []


def _by_name(words: Sequence[str]) -> Select[int]:
    """Select people with a word that begins with each of `words`: one range of keys, filtered by the other words."""
    first, *others = sorted(words, key=len, reverse=True)
    key = ContactSearch.key
    found = (
        select(ContactSearch.contact_id, key.label("key"))
        .where(key.startswith(first, autoescape=True))
        .order_by(key, ContactSearch.contact_id)
    )
    if others:  # the range is bounded before it is filtered, so that a name that many have stays quick
        reading = found.limit(LOOKED_AT).subquery()
        begins = [func.strpos(reading.c.key, f" {word}") > 0 for word in others]
        found = (
            select(reading.c.contact_id, reading.c.key)
            .where(*begins)
            .order_by(reading.c.key, reading.c.contact_id)
        )
    keys = found.limit(MOST_NAMES).subquery()
    return (
        select(_SURVIVOR)
        .join(keys, keys.c.contact_id == Contact.id)
        .where(Contact.erased_at.is_(None))
        .order_by(keys.c.key, Contact.id)
    )


MOST_NAMES = 400  # keys that a search by name returns before equal people are taken together
