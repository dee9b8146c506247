"""Matching of imported rows with known people, a thousand at a time, in a constant number of statements.

An import adds people and leads. It changes no known person and no consent.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.contacts.rules import folded, match_person
from crm.core import clock, crypto, current
from crm.core.db import as_json, db, execute_raw, sealed
from crm.imports.rules import LEADS, Row
from crm.leads import references
from crm.leads import rules as leads

_KNOWN = " union ".join(
    f"""
    select c.id from unnest(:{name}::bytea[]) one join contact c on c.{name} = one
    where c.merged_into_id is null and c.erased_at is null
    """
    for name in contacts.KEYS
)
_OPEN = """
    select contact_id, content_index from lead
    where contact_id = any(:contacts::bigint[]) and closed_at is null and kind = 'contact_request'
"""
_IDS = "select nextval(pg_get_serial_sequence(:table, 'id')) as id from generate_series(1, :count)"
_CONTACTS = """
    insert into contact (id, created_at, first_name, last_name, email, email_index, phone, phone_index, phone_last4_index,
        phone_last7_index, birth_date, name_birth_index, language, time_zone, state, version)
    select id, :now, first_name, last_name, email, email_index, phone, phone_index, phone_last4_index,
        phone_last7_index, birth_date, name_birth_index, language, time_zone, state, 1
    from unnest(:id::bigint[], :first_name::text[], :last_name::text[], :email::text[],
        :email_index::bytea[], :phone::bytea[], :phone_index::bytea[], :phone_last4_index::bytea[],
        :phone_last7_index::bytea[], :birth_date::bytea[],
        :name_birth_index::bytea[], :language::text[], :time_zone::text[], :state::text[])
        as one (id, first_name, last_name, email, email_index, phone, phone_index, phone_last4_index, phone_last7_index,
            birth_date, name_birth_index, language, time_zone, state)
"""
_NOTED = """
    insert into activity (contact_id, at, kind, actor, detail)
    select contact_id, :now, case when alike is null then 'imported' else 'possible_duplicate' end, :actor,
        case when alike is null then :detail else jsonb_build_object('contact_id', alike) end
    from unnest(:contact_id::bigint[], :alike::bigint[]) as one (contact_id, alike)
"""
# No row in the history of stage moves, which cannot be deleted: it begins with the first move.
_LEADS = """
    with opened as (
        insert into lead (id, reference, contact_id, kind, stage, source, message, content_index, created_at, stage_at,
            due_at, version)
        select id, reference, contact_id, 'contact_request', :stage, 'import', message, content_index, :now,
            :now, :due_at, 1
        from unnest(:id::bigint[], :reference::text[], :contact_id::bigint[], :message::bytea[],
            :content_index::bytea[]) as one (id, reference, contact_id, message, content_index)
        returning id, contact_id)
    insert into activity (contact_id, lead_id, at, kind, actor, detail)
    select contact_id, id, :now, 'lead_opened', :actor, :detail from opened
"""


@dataclass
class Outcome:
    """The result of a batch of rows."""

    new: int = 0
    known: int = 0
    duplicates: int = 0
    contact_ids: list[int] = field(default_factory=list)
    lead_ids: list[int] = field(default_factory=list)


@dataclass
class _Plan:
    row: Row
    indexes: dict[str, bytes | None]
    content: bytes
    contact_id: int | None = None  # of a known person
    alike: list[int] = field(default_factory=list)


def import_rows(rows: Sequence[Row], *, kind: str, seen: set[bytes], write: bool, run_id: int) -> Outcome:
    """Match rows with known people and, with `write`, add the new people and leads.

    `seen` holds the keys of earlier rows of the file; the keys of these rows are added.
    """
    outcome, plans = Outcome(), []
    for row in rows:
        plan = _Plan(row, contacts.blind_indexes(row.person), _content(row))
        key = _key(plan, kind)
        if key in seen:
            outcome.duplicates += 1
        else:
            seen.add(key)
            plans.append(plan)
    known = _match(plans, _known(plans))
    if write:  # take the lock only now, after the slow reading and comparing
        contacts.lock_contact_creation()
        _match(plans, _known(plans) - known)
    if kind == LEADS:
        plans = _without_open(plans, outcome)
    fresh = [plan for plan in plans if plan.contact_id is None]
    outcome.new, outcome.known = len(fresh), len(plans) - len(fresh)
    if write:
        _write(plans, fresh, kind=kind, run_id=run_id, outcome=outcome)
    return outcome


def _content(row: Row) -> bytes:
    return crypto.blind_index("lead content", f"{leads.CONTACT_REQUEST}|{row.message or ''}")


def _key(plan: _Plan, kind: str) -> bytes:
    """Return the same key for two rows that are one person (and, for leads, one request)."""
    person, indexes = plan.row.person, plan.indexes
    parts = [indexes["email_index"] or indexes["phone_index"] or b""]
    if person.birth_date or not person.email:  # a family may share an address or a phone
        parts.append(f"{folded(person.first_name)}|{folded(person.last_name)}|{person.birth_date}".encode())
    if kind == LEADS:
        parts.append(plan.content)
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


def _all(plans: Sequence[_Plan], name: str) -> list[bytes]:
    return sorted({index for plan in plans if (index := plan.indexes[name])})


def _known(plans: Sequence[_Plan]) -> set[int]:
    """Return the ids of people with an email address, a phone number, or a name and birth date of these rows."""
    return {row.id for row in execute_raw(_KNOWN, {name: _all(plans, name) for name in contacts.KEYS})}


def _match(plans: Sequence[_Plan], ids: set[int]) -> set[int]:
    """Note for each plan which of `ids` is the same person or a look-alike; return `ids`."""
    found: Mapping[tuple[str, bytes], list[Contact]] = _by_index(ids)
    for plan in plans:
        for name in contacts.KEYS:
            for contact in found.get((name, plan.indexes[name] or b""), ()):
                if plan.contact_id is None:
                    _compare(plan, contact, by_email=name == "email_index")
    return ids


def _by_index(ids: Collection[int]) -> dict[tuple[str, bytes], list[Contact]]:
    found: defaultdict[tuple[str, bytes], list[Contact]] = defaultdict(list)
    if ids:
        for contact in db.session.scalars(select(Contact).where(Contact.id.in_(ids)).order_by(Contact.id)):
            for name in contacts.KEYS:
                if index := getattr(contact, name):
                    found[name, bytes(index)].append(contact)
    return found


def _compare(plan: _Plan, contact: Contact, *, by_email: bool) -> None:
    verdict = match_person(plan.row.person, contacts.as_person(contact), by_email=by_email)
    if verdict == "same":
        plan.contact_id = contact.id
    elif verdict == "look_alike" and contact.id not in plan.alike:
        plan.alike.append(contact.id)


def _without_open(plans: Sequence[_Plan], outcome: Outcome) -> list[_Plan]:
    """Return the plans without requests that are already open."""
    known = [plan.contact_id for plan in plans if plan.contact_id is not None]
    there = {
        (row.contact_id, bytes(row.content_index or b"")) for row in execute_raw(_OPEN, {"contacts": known})
    }
    kept = [plan for plan in plans if (plan.contact_id, plan.content) not in there]
    outcome.duplicates += len(plans) - len(kept)
    return kept


def _ids(table: str, count: int) -> list[int]:
    return [row.id for row in execute_raw(_IDS, {"table": table, "count": count})]


def _write(
    plans: Sequence[_Plan], fresh: Sequence[_Plan], *, kind: str, run_id: int, outcome: Outcome
) -> None:
    common = {
        "now": clock.now(),
        "actor": audit.current().actor,
        "detail": as_json({"source": "import", "import_id": run_id, "kind": leads.CONTACT_REQUEST}),
    }
    outcome.contact_ids = _ids("contact", len(fresh))
    people: defaultdict[str, list[Any]] = defaultdict(list)
    for plan, new_id in zip(fresh, outcome.contact_ids, strict=True):
        plan.contact_id = new_id
        for name, value in _columns(plan).items():
            people[name].append(value)
    if fresh:
        execute_raw(_CONTACTS, people | common)
        noted = [(plan.contact_id, alike) for plan in fresh for alike in (None, *plan.alike)]
        execute_raw(_NOTED, {"contact_id": [a for a, _ in noted], "alike": [b for _, b in noted], **common})
    if kind == LEADS and plans:
        outcome.lead_ids = _open_leads(plans, common)


def _columns(plan: _Plan) -> dict[str, Any]:
    person = plan.row.person
    return {
        **plan.indexes,
        "id": plan.contact_id,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "phone": sealed(person.phone),
        "birth_date": sealed(person.birth_date.isoformat() if person.birth_date else None),
        "language": person.language,
        "time_zone": person.time_zone,
        "state": person.state,
    }


def _open_leads(plans: Sequence[_Plan], common: Mapping[str, Any]) -> list[int]:
    ids, stage = _ids("lead", len(plans)), leads.first_stage(leads.CONTACT_REQUEST)
    due = leads.due_at(
        kind=leads.CONTACT_REQUEST, stage=stage, since=common["now"], calendar=current.calendar()
    )
    given = {
        "id": ids,
        "reference": _references(len(plans)),
        "contact_id": [plan.contact_id for plan in plans],
        "message": [sealed(plan.row.message) for plan in plans],
        "content_index": [plan.content for plan in plans],
        "stage": stage,
        "due_at": due,
    }
    execute_raw(_LEADS, given | dict(common))
    return ids


def _references(count: int) -> list[str]:
    """Return that many unused references: draw a few more, then leave out those in use."""
    drawn = list(dict.fromkeys(references.new_reference(leads.CONTACT_REQUEST) for _ in range(count + 50)))
    taken = execute_raw("select reference from lead where reference = any(:drawn)", {"drawn": drawn})
    gone = {row.reference for row in taken}
    return [one for one in drawn if one not in gone][:count]
