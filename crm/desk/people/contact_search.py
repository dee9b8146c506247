"""The list of contacts: filtered and sorted by bounded scans of indexes, with a cursor that holds an id only.

One filter chooses the index, in its order; the others are checked on the rows of that scan, at most `LOOKED_AT` of them.
So a page costs the same with a thousand contacts and with a million.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import distinct_on

from crm.consent.models import ConsentState
from crm.consent.rules import TOPICS
from crm.contacts.models import Contact, Tag
from crm.contacts.queries import matching_ids, present
from crm.core import current, paging
from crm.core.db import db
from crm.core.errors import Invalid
from crm.leads import queries as leads
from crm.leads.models import Lead

PAGE = 50
MATCHES = 200  # people that a search text may match
LOOKED_AT = 4_000  # contacts that one page reads if no index covers all filters
SORTS = {"newest": "Newest first", "oldest": "Oldest first", "name": "By name"}
OPTED_OUT, NEVER_ASKED = "out", "none"


@dataclass(frozen=True, kw_only=True)
class ContactFilter:
    """Filters of the list. `consent` is a topic, "out" or "none"; `leads` is open, ended or none; days are the clinic's."""

    q: str = ""
    consent: str = ""
    tag: str = ""
    language: str = ""
    state: str = ""
    source: str = ""
    leads: str = ""
    added_from: date | None = None
    added_to: date | None = None
    sort: str = "newest"


@dataclass(frozen=True, kw_only=True)
class ContactRow:
    """One contact with what the list shows beside it."""

    contact: Contact
    lead: Lead | None = None
    tags: Sequence[str] = ()
    topics: Sequence[str] = field(default=())  # opted in to, from the address of today
    opted_out: bool = False


@dataclass(frozen=True, kw_only=True)
class ContactPage:
    """A page of the list. `looked_at`: how many contacts were read, if that is not all of them."""

    rows: Sequence[ContactRow]
    next: str | None
    looked_at: int | None = None


def find_contacts(wanted: ContactFilter, *, cursor: str | None = None, limit: int = PAGE) -> ContactPage:
    """Return a page of the contacts that match. Raises Invalid."""
    scan = _Scan(wanted, cursor=cursor)
    ids = list(db.session.scalars(scan.ids(limit + 1)))
    shown, edge, looked_at = ids[:limit], None, None
    if len(ids) > limit:
        edge = shown[-1]
    elif (last := scan.last_read()) is not None:
        edge, looked_at = last, LOOKED_AT
    return ContactPage(rows=_rows(shown), next=paging.encode(edge) if edge else None, looked_at=looked_at)


def find_contact_ids(wanted: ContactFilter, *, limit: int) -> list[int]:
    """Return the ids of the first contacts that match, at most `limit`."""
    return list(db.session.scalars(_Scan(wanted).ids(limit)))


def _day(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=current.calendar().zone)


class _Scan:
    """The scan of one index, and the filters that are checked on its rows."""

    def __init__(self, wanted: ContactFilter, *, cursor: str | None = None) -> None:
        if wanted.sort not in SORTS:
            raise Invalid({"sort": ["Choose an order from the list."]})
        self.wanted = wanted
        self.newest = wanted.sort == "newest"
        self.after = paging.decode(cursor, (int,))[0] if cursor else None
        self.checks = _checks(wanted)
        self.rows = self._matching() if wanted.q else self._scanned()

    def ids(self, limit: int) -> Select[int]:
        """Select the ids of the first contacts that match, in order."""
        rows = self.rows.c
        conditions = [check(rows) for check in self.checks.values()]
        return select(rows.id).where(*conditions).order_by(*self._order(rows)).limit(limit)

    def last_read(self) -> int | None:
        """Return the id of the last contact read if there are more, else None."""
        if self.wanted.q or not self.checks:
            return None
        rows = self.rows.c
        last = select(rows.id, func.count().over()).order_by(*self._order(rows, back=True)).limit(1)
        found = db.session.execute(last).first()
        return found[0] if found and found[1] >= LOOKED_AT else None

    def _key(self, rows: Any) -> tuple[Any, ...]:
        if self.wanted.sort == "name":
            return (rows.last, rows.first, rows.id)
        return (rows.created_at, rows.id) if self._by_day() else (rows.id,)

    def _by_day(self) -> bool:
        return self.wanted.added_from is not None or self.wanted.added_to is not None

    def _order(self, rows: Any, *, back: bool = False) -> list[Any]:
        down = self.newest is not back
        return [column.desc() if down else column for column in self._key(rows)]

    def _matching(self) -> Subquery:
        """Select those whom the search text names: few enough to be sorted."""
        found = leads.matching_people(self.wanted.q, limit=MATCHES)
        ids: Any = found if isinstance(found, Sequence) else select(found.subquery().c.id)
        return self._from(_SHOWN.where(Contact.id.in_(ids)), whole=True)

    def _scanned(self) -> Subquery:
        """Select the first contacts of the index that one filter or the order names."""
        wanted = self.wanted
        if wanted.sort == "name" or self._by_day():
            return self._from(_SHOWN.where(*self._days()))
        driver = self._id_driver()
        if driver is None:
            for name in ("state", "language"):
                if value := getattr(wanted, name):
                    self.checks.pop(name)
                    return self._from(_SHOWN.where(getattr(Contact, name) == value))
            return self._from(_SHOWN)
        return self._behind(driver)

    def _days(self) -> list[ColumnElement[bool]]:
        first, last = self.wanted.added_from, self.wanted.added_to
        found = [Contact.created_at >= _day(first)] if first else []
        return [*found, *([Contact.created_at < _day(last + timedelta(days=1))] if last else [])]

    def _from(self, rows: Select[*tuple[Any, ...]], *, whole: bool = False) -> Subquery:
        """Order contacts from the cursor on."""
        columns = _Columns
        if self.after is not None:
            here, place = tuple_(*self._key(columns)), tuple_(*self._mark())
            rows = rows.where(here < place if self.newest else here > place)
        return rows.order_by(*self._order(columns)).limit(None if whole else LOOKED_AT).subquery("scan")

    def _mark(self) -> Sequence[Any]:
        """Return the key of the contact at which the last page ended. Raises Invalid."""
        found = db.session.execute(select(*self._key(_Columns)).where(Contact.id == self.after)).first()
        if found is None:
            raise Invalid({"cursor": ["This page marker is not valid. Start from the first page."]})
        return tuple(found)

    def _id_driver(self) -> Select[int] | None:
        """Return the ids of the contacts of one filter, out of an index that ends with them."""
        wanted = self.wanted
        if wanted.tag:
            self.checks.pop("tag")
            return select(Tag.contact_id.label("id")).where(Tag.tag == wanted.tag)
        if wanted.consent in TOPICS:
            self.checks.pop("consent")
            granted = (ConsentState.topic == wanted.consent, ConsentState.granted)
            return select(ConsentState.contact_id.label("id")).where(*granted)
        if wanted.source:
            self.checks.pop("source")
            return select(Lead.contact_id.label("id")).where(Lead.source == wanted.source).distinct()
        return None

    def _behind(self, driver: Select[int]) -> Subquery:
        column = driver.selected_columns[0].element  # what the label names
        if self.after is not None:
            driver = driver.where(column < self.after if self.newest else column > self.after)
        ids = driver.order_by(column.desc() if self.newest else column).limit(LOOKED_AT).subquery("ids")
        each = _SHOWN.where(Contact.id == ids.c.id).limit(1).lateral("each")
        rows = select(each).select_from(ids.join(each, true()))
        return rows.order_by(ids.c.id.desc() if self.newest else ids.c.id).subquery("scan")


class _Columns:
    """The columns of a scan, as they stand on the table."""

    id = Contact.id
    created_at = Contact.created_at
    language = Contact.language
    state = Contact.state
    last = func.lower(Contact.last_name).collate("C")
    first = func.lower(Contact.first_name).collate("C")


_SHOWN = select(
    _Columns.id,
    _Columns.created_at,
    _Columns.language,
    _Columns.state,
    _Columns.last.label("last"),
    _Columns.first.label("first"),
).where(*present())


def _checks(wanted: ContactFilter) -> dict[str, Any]:
    """Return filter -> its condition on a row of a scan."""
    found: dict[str, Any] = {}
    if wanted.tag:
        found["tag"] = lambda row: _exists(Tag.contact_id == row.id, Tag.tag == wanted.tag)
    if wanted.consent:
        found["consent"] = lambda row: _consents(row, wanted.consent)
    if wanted.source:
        found["source"] = lambda row: _exists(Lead.contact_id == row.id, Lead.source == wanted.source)
    if wanted.leads:
        found["leads"] = lambda row: _leads(row, wanted.leads)
    if wanted.state:
        found["state"] = lambda row: row.state == wanted.state
    if wanted.language:
        found["language"] = lambda row: row.language == wanted.language
    return found


def _exists(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(1).where(*conditions).exists()


def _consents(row: Any, wanted: str) -> ColumnElement[bool]:
    theirs = ConsentState.contact_id == row.id
    if wanted == NEVER_ASKED:
        return ~_exists(theirs)
    if wanted == OPTED_OUT:
        return _exists(theirs, ~ConsentState.granted)
    if wanted not in TOPICS:
        raise Invalid({"consent": ["Choose an answer from the list."]})
    return _exists(theirs, ConsentState.topic == wanted, ConsentState.granted.is_(True))


def _leads(row: Any, wanted: str) -> ColumnElement[bool]:
    theirs = Lead.contact_id == row.id
    if wanted == "none":
        return ~_exists(theirs)
    if wanted == "open":
        return _exists(theirs, Lead.closed_at.is_(None))
    if wanted == "ended":
        return _exists(theirs) & ~_exists(theirs, Lead.closed_at.is_(None))
    raise Invalid({"leads": ["Choose an answer from the list."]})


def _tags_of(ids: Sequence[int]) -> dict[int, list[str]]:
    tags: dict[int, list[str]] = {}
    for tag in db.session.scalars(select(Tag).where(Tag.contact_id.in_(ids)).order_by(Tag.tag)):
        tags.setdefault(tag.contact_id, []).append(tag.tag)
    return tags


def _consents_of(ids: Sequence[int]) -> dict[int, list[ConsentState]]:
    consents: dict[int, list[ConsentState]] = {}
    states = select(ConsentState).where(ConsentState.contact_id.in_(ids)).order_by(ConsentState.topic)
    for state in db.session.scalars(states):
        consents.setdefault(state.contact_id, []).append(state)
    return consents


def _granted(contact: Contact, states: Iterable[ConsentState]) -> list[str]:
    """Return the topics that the contact's present address may get."""
    return [state.topic for state in states if state.granted and state.address_index == contact.email_index]


def _rows(ids: Sequence[int]) -> list[ContactRow]:
    """Return these contacts in this order, each with its newest lead, tags and consent: four statements."""
    if not ids:
        return []
    people = {one.id: one for one in db.session.scalars(select(Contact).where(Contact.id.in_(ids)))}
    newest = select(Lead).where(Lead.contact_id.in_(ids)).order_by(Lead.contact_id, Lead.id.desc())
    leads_of = {
        lead.contact_id: lead for lead in db.session.scalars(newest.ext(distinct_on(Lead.contact_id)))
    }
    tags, consents = _tags_of(ids), _consents_of(ids)
    return [
        ContactRow(
            contact=people[one],
            lead=leads_of.get(one),
            tags=tags.get(one, ()),
            topics=_granted(people[one], consents.get(one, ())),
            opted_out=any(not state.granted for state in consents.get(one, ())),
        )
        for one in ids
        if one in people
    ]


def people_without_leads(typed: str, *, limit: int = 20) -> Sequence[Contact]:
    """Return the contacts that a search text names and that have no lead."""
    found = matching_ids(typed, limit=MATCHES)
    if found is None:
        return []
    rows = select(Contact).where(
        Contact.id.in_(select(found.subquery().c.id)),
        Contact.erased_at.is_(None),
        ~_exists(Lead.contact_id == Contact.id),
    )
    return db.session.scalars(rows.order_by(Contact.id.desc()).limit(limit)).all()


LABELS: Mapping[str, str] = {
    "q": "Search",
    "consent": "Consent",
    "tag": "Tag",
    "language": "Language",
    "state": "State",
    "source": "Source",
    "leads": "Leads",
    "added_from": "Added from",
    "added_to": "Added to",
    "sort": "Order",
}
