"""Matching of imported rows with known people, a thousand at a time, in a constant number of statements.

An import adds people and leads. It changes no known person and no consent; a differing value is added as a note.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.contacts.rules import Match, Person, Problem, folded, match_person
from crm.core import clock, crypto, current
from crm.core.db import as_json, db, execute_raw, sealed
from crm.imports.rules import LEADS, Row
from crm.intake.values import list_unread
from crm.leads import assignment, crisis, references
from crm.leads import rules as leads
from crm.leads.crisis_words import mentions_crisis
from crm.leads.queries import people_in_crisis
from crm.staff import alerts

_KNOWN = " union ".join(
    f"""
    select c.id from unnest(:{name}::bytea[]) one join contact c on c.{name} = one
    where c.erased_at is null
    """
    for name in contacts.KEYS
)
_OPEN = """
    select contact_id, content_index, reference from lead
    where contact_id = any(:contacts::bigint[]) and closed_at is null and kind = 'contact_request'
"""
_IDS = "select nextval(pg_get_serial_sequence(:table, 'id')) as id from generate_series(1, :count)"
_CONTACTS = """
    insert into contact (id, created_at, first_name, last_name, email, email_index, phone, phone_index, phone_last4_index,
        phone_last7_index, phone_first6_index, birth_date, name_birth_index, language, time_zone, state, version)
    select id, :now, first_name, last_name, email, email_index, phone, phone_index, phone_last4_index,
        phone_last7_index, phone_first6_index, birth_date, name_birth_index, language, time_zone, state, 1
    from unnest(:id::bigint[], :first_name::text[], :last_name::text[], :email::text[],
        :email_index::bytea[], :phone::bytea[], :phone_index::bytea[], :phone_last4_index::bytea[],
        :phone_last7_index::bytea[], :phone_first6_index::bytea[], :birth_date::bytea[],
        :name_birth_index::bytea[], :language::text[], :time_zone::text[], :state::text[])
        as one (id, first_name, last_name, email, email_index, phone, phone_index, phone_last4_index, phone_last7_index,
            phone_first6_index, birth_date, name_birth_index, language, time_zone, state)
"""
_NOTES = """
    insert into activity (contact_id, lead_id, at, kind, actor, text, detail)
    select contact_id, lead_id, :now, kind, :actor, text, coalesce(detail::jsonb, :source::jsonb)
    from unnest(:contact_id::bigint[], :lead_id::bigint[], :kind::text[], :text::bytea[], :detail::text[])
        as one (contact_id, lead_id, kind, text, detail)
"""
# No row in the history of stage moves, which cannot be deleted: it begins with the first move.
_LEADS = """
    with opened as (
        insert into lead (id, reference, contact_id, kind, stage, source, message, content_index, created_at, stage_at,
            due_at, version)
        select id, reference, contact_id, 'contact_request', :stage, 'import', message, content_index, :now,
            :now, case when waits then :due_at::timestamptz end, 1
        from unnest(:id::bigint[], :reference::text[], :contact_id::bigint[], :message::bytea[],
            :content_index::bytea[], :waits::boolean[]) as one (id, reference, contact_id, message, content_index, waits)
        returning id, contact_id)
    insert into activity (contact_id, lead_id, at, kind, actor, detail)
    select contact_id, id, :now, 'lead_opened', :actor, :detail from opened
"""


@dataclass
class Outcome:
    """The result of a batch of rows. `duplicates` has the rows passed over, and what each repeats."""

    new: int = 0
    known: int = 0
    duplicates: list[tuple[Row, Problem]] = field(default_factory=list)
    contact_ids: list[int] = field(default_factory=list)
    lead_ids: list[int] = field(default_factory=list)


@dataclass
class _Plan:
    row: Row
    indexes: dict[str, bytes | None]
    content: bytes
    contact_id: int | None = None
    known: Contact | None = None
    alike: list[int] = field(default_factory=list)
    earlier: int | None = None  # the line of an earlier row of the same person, who is new
    first: "_Plan | None" = None  # that row, where it is of the same batch
    lead_id: int | None = None
    reference: str = ""


def import_rows(
    rows: Sequence[Row], *, kind: str, seen: dict[bytes, int], write: bool, run_id: int
) -> Outcome:
    """Match rows with known people and, with `write`, add the new people and leads.

    `seen` maps the keys of earlier rows of the file to their number; the keys of these rows are added.
    """
    outcome = Outcome()
    plans = _without_repeats(rows, kind, seen, outcome)
    known = _match(plans, _known(plans))
    if write:  # take the lock only now, after the slow reading and comparing
        contacts.lock_contact_creation()
        _match(plans, _known(plans) - known)
    _join_rows_of_one_person(plans, seen)
    if kind == LEADS:
        plans = _without_open(plans, outcome)
    fresh = [plan for plan in plans if plan.known is None and plan.first is None]
    outcome.new = sum(plan.known is None and plan.earlier is None for plan in plans)
    outcome.known = len(plans) - outcome.new
    if write:
        _write(plans, fresh, kind=kind, run_id=run_id, outcome=outcome)
    return outcome


def _without_repeats(rows: Sequence[Row], kind: str, seen: dict[bytes, int], outcome: Outcome) -> list[_Plan]:
    plans = []
    for row in rows:
        plan = _Plan(row, contacts.blind_indexes(row.person), _content(row))
        earlier = _repeated(plan, kind, seen)
        if earlier is None:
            plans.append(plan)
        else:
            outcome.duplicates.append((row, Problem("repeats_row", {"row": earlier})))
    return plans


def _content(row: Row) -> bytes:
    return crypto.blind_index("lead content", f"{leads.CONTACT_REQUEST}|{row.message or ''}")


def _repeated(plan: _Plan, kind: str, seen: dict[bytes, int]) -> int | None:
    """Return the number of the earlier row that is the same person (and, for leads, request); else remember the row."""
    return _earlier_row(plan, plan.content if kind == LEADS else b"", seen)


def _join_rows_of_one_person(plans: Sequence[_Plan], seen: dict[bytes, int]) -> None:
    """Let a later row of a person who is new join the earlier row: one contact with two requests."""
    here = {plan.row.line: plan for plan in plans}
    for plan in plans:
        if plan.known is None:
            plan.earlier = _earlier_row(plan, b"person", seen)
            plan.first = here.get(plan.earlier or 0)


def _earlier_row(plan: _Plan, what: bytes, seen: dict[bytes, int]) -> int | None:
    """Return the number of the earlier row that is the same person in `what`; else remember the row.

    The rule is that of `match_person`: the same address or phone and the same full name, and no two different birth
    dates.
    """
    person, indexes = plan.row.person, plan.indexes
    reach = indexes["email_index"] or indexes["phone_index"] or b""
    name = f"{folded(person.first_name)}|{folded(person.last_name)}".encode()
    common = [reach, name, what]
    born = person.birth_date.isoformat() if person.birth_date else ""
    asked = (born, "") if born else ("", "any")
    for one in asked:
        if (earlier := seen.get(_key(*common, one.encode()))) is not None:
            return earlier
    for one in (born, "any") if born else ("",):
        seen.setdefault(_key(*common, one.encode()), plan.row.line)
    return None


def _key(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=12).digest()


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
                if plan.known is None:
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
    survivor = contacts.surviving(contact)
    if survivor is None:
        return
    verdict = match_person(plan.row.person, contacts.as_person(contact), by_email=by_email)
    if verdict == "same":
        plan.contact_id, plan.known = survivor.id, survivor
    elif verdict == "look_alike" and survivor.id not in plan.alike:
        plan.alike.append(survivor.id)


def _without_open(plans: Sequence[_Plan], outcome: Outcome) -> list[_Plan]:
    """Return the plans without requests that are already open."""
    known = [plan.contact_id for plan in plans if plan.contact_id is not None]
    there = {
        (row.contact_id, bytes(row.content_index or b"")): row.reference
        for row in execute_raw(_OPEN, {"contacts": known})
    }
    kept = []
    for plan in plans:
        reference = there.get((plan.contact_id or 0, plan.content))
        if reference is None:
            kept.append(plan)
        else:
            outcome.duplicates.append((plan.row, Problem("repeats_lead", {"reference": reference})))
    return kept


def _ids(table: str, count: int) -> list[int]:
    return [row.id for row in execute_raw(_IDS, {"table": table, "count": count})]


def _write(
    plans: Sequence[_Plan], fresh: Sequence[_Plan], *, kind: str, run_id: int, outcome: Outcome
) -> None:
    common = {"now": clock.now(), "actor": audit.current().actor}
    source = as_json({"source": "import", "import_id": run_id, "kind": leads.CONTACT_REQUEST})
    outcome.contact_ids = _ids("contact", len(fresh))
    _add_contacts(plans, fresh, outcome.contact_ids, common)
    _find_alike(fresh)
    if kind == LEADS and plans:
        outcome.lead_ids = _open_leads(plans, common | {"detail": source})
    notes = [note for plan in plans for note in _notes(plan, kind)]
    if notes:
        columns = zip(*notes, strict=True)
        names = ("contact_id", "lead_id", "kind", "text", "detail")
        execute_raw(_NOTES, dict(zip(names, map(list, columns), strict=True)) | common | {"source": source})
    for plan in plans:
        _watch(plan, run_id)


def _add_contacts(
    plans: Sequence[_Plan], fresh: Sequence[_Plan], ids: Sequence[int], common: Mapping[str, Any]
) -> None:
    people: defaultdict[str, list[Any]] = defaultdict(list)
    for plan, new_id in zip(fresh, ids, strict=True):
        plan.contact_id = new_id
        for name, value in _columns(plan).items():
            people[name].append(value)
    for plan in plans:
        if plan.first is not None:
            plan.contact_id = plan.first.contact_id
    if fresh:
        execute_raw(_CONTACTS, {**people, **common})


def _find_alike(fresh: Sequence[_Plan]) -> None:
    """Mark new people of this batch who may be the same person: `_match` compared them only with stored people."""
    first: dict[bytes, _Plan] = {}
    for plan in fresh:
        for name in contacts.KEYS:
            index = plan.indexes[name]
            other = first.setdefault(index, plan) if index else plan
            if other is plan or other.contact_id in plan.alike:
                continue
            verdict = match_person(plan.row.person, other.row.person, by_email=name == "email_index")
            if verdict is not Match.OTHER and other.contact_id is not None:
                plan.alike.append(other.contact_id)


def _notes(plan: _Plan, kind: str) -> Iterator[tuple[Any, ...]]:
    """Yield what the timeline says about a row: contact, lead, kind, text, detail."""
    row = plan.row
    message = row.message if kind != LEADS else None
    known = _known_person(plan)
    if known is None or message:
        yield plan.contact_id, plan.lead_id, "imported", sealed(message), None
    if row.left_out:
        yield plan.contact_id, plan.lead_id, "left_out", sealed(list_unread(row.left_out)), None
    for other in plan.alike if known is None else ():
        yield plan.contact_id, plan.lead_id, "possible_duplicate", None, as_json({"contact_id": other})
    if known is not None and (differing := _differing(row.person, known)):
        said = "; ".join(f"{name.replace('_', ' ')}: {getattr(row.person, name)}" for name in differing)
        yield plan.contact_id, plan.lead_id, "told_otherwise", sealed(said), as_json({"fields": differing})


def _known_person(plan: _Plan) -> Person | None:
    """Return what is known of the person of a row: their record, or an earlier row."""
    if plan.known is not None:
        return contacts.as_person(plan.known)
    return plan.first.row.person if plan.first is not None else None


def _differing(said: Person, known: Person) -> list[str]:
    """Return the fields in which a row says something that the record does not."""
    names = ("email", "phone", "birth_date", "state", "first_name", "last_name")
    return [name for name in names if getattr(said, name) and getattr(said, name) != getattr(known, name)]


def _watch(plan: _Plan, run_id: int) -> None:
    """Alert staff to a text of a row that speaks of a crisis, also to one that was left out."""
    texts = [plan.row.message, *(one.text for one in plan.row.left_out)]
    if plan.lead_id is not None:
        crisis.alert_if_crisis(*texts, lead_id=plan.lead_id, reference=plan.reference)
    else:
        alert_if_crisis(texts, line=plan.row.line, run_id=run_id)


def alert_if_crisis(texts: Iterable[str | None], *, line: int, run_id: int) -> None:
    """Alert staff to a row without a lead that speaks of a crisis: the page of the import shows whose it is."""
    if any(map(mentions_crisis, texts)):
        alerts.raise_alert(
            key=f"import-crisis:{run_id}:{line}",
            level="danger",
            text=f"Row {line:,} of an import may speak of a crisis. Read it now and call.",
            link=f"/console/import/{run_id}",
        )


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
    for plan, lead_id, reference in zip(plans, ids, _references(len(plans)), strict=True):
        plan.lead_id, plan.reference = lead_id, reference
    given = {
        "id": ids,
        "reference": [plan.reference for plan in plans],
        "contact_id": [plan.contact_id for plan in plans],
        "message": [sealed(plan.row.message) for plan in plans],
        "content_index": [plan.content for plan in plans],
        "waits": _which_wait(plans),
        "stage": stage,
        "due_at": due,
    }
    execute_raw(_LEADS, given | dict(common))
    assignment.assign_new(ids)
    return ids


def _which_wait(plans: Sequence[_Plan]) -> list[bool]:
    """Return for each whether it has a deadline: not for a person who is stopped or in crisis."""
    in_crisis = people_in_crisis() if any(plan.known for plan in plans) else frozenset()
    return [
        plan.known is None or (plan.known.stopped_at is None and plan.known.id not in in_crisis)
        for plan in plans
    ]


def _references(count: int) -> list[str]:
    """Return that many unused references: draw a few more, then leave out those in use."""
    drawn = list(dict.fromkeys(references.new_reference(leads.CONTACT_REQUEST) for _ in range(count + 50)))
    taken = execute_raw("select reference from lead where reference = any(:drawn)", {"drawn": drawn})
    gone = {row.reference for row in taken}
    return [one for one in drawn if one not in gone][:count]
