"""The verbs of a person's record. Nothing here merges two people; that is a decision staff take."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import make_transient_to_detached

from crm.audit import service as audit
from crm.contacts.addresses import address_index
from crm.contacts.events import ContactStopped
from crm.contacts.models import Activity, Contact, Tag
from crm.contacts.rules import Person, folded, same_person
from crm.core import clock, crypto, events
from crm.core.db import db, execute_raw, sealed
from crm.core.errors import Invalid, NotFound

TAG_LIMIT = 40  # characters
PHONE, NAME_BIRTH = "phone", "name+birth"


@dataclass(frozen=True, kw_only=True)
class Found:
    """The contact of an intake, whether it was made just now, and what was said that differs from the record."""

    contact: Contact
    is_new: bool
    differing: Sequence[str] = ()


def indexes(person: Person) -> dict[str, bytes | None]:
    """Return the blind indexes a person is found by; None where nothing was told."""
    born = person.birth_date
    name = f"{folded(person.first_name)} {folded(person.last_name)}"
    return {
        "email_index": address_index(person.email) if person.email else None,
        "phone_index": crypto.blind_index(PHONE, person.phone) if person.phone else None,
        "name_birth_index": crypto.blind_index(NAME_BIRTH, f"{name}|{born.isoformat()}") if born else None,
    }


_LOCK = """
    select pg_advisory_xact_lock_shared(%(everybody)s)
    union all select pg_advisory_xact_lock(one) from unnest(%(keys)s::bigint[]) one
"""
_EVERYBODY = 7_302_002  # names the making of records among PostgreSQL's advisory locks
_CANDIDATES = """
    select id from contact
    where (email_index = %(email_index)s or phone_index = %(phone_index)s
           or name_birth_index = %(name_birth_index)s)
        and merged_into_id is null and erased_at is null
    order by id limit 50
"""


def find_or_create(*, person: Person, demo: bool = False) -> Found:
    """Return the contact for `person`, making one where nobody we know is the same.

    Holds a lock on the address, phone and birth date until the transaction ends, so that equal intakes that
    arrive at once find each other. Fills gaps in a known record, never overwrites: anybody can fill in a form.
    """
    found = indexes(person)
    # In order of size: two intakes that share several keys must not wait for each other crosswise.
    keys = sorted({struct.unpack(">q", index[:8])[0] for index in found.values() if index})
    db.session.flush()
    execute_raw(_LOCK, {"keys": keys, "everybody": _EVERYBODY})
    alike = []
    for contact in _known(found):
        by_email = found["email_index"] is not None and contact.email_index == found["email_index"]
        verdict = same_person(person, told(contact), by_email=by_email)
        if verdict == "same":
            return Found(contact=contact, is_new=False, differing=_fill_gaps(contact, person, found))
        if verdict == "look_alike":
            alike.append(contact.id)
    contact = _create(person, found, demo=demo)
    for other in alike:
        record_activity(contact_id=contact.id, kind="possible_duplicate", detail={"contact_id": other})
    return Found(contact=contact, is_new=True)


def hold_others() -> None:
    """Let nobody else make records until the transaction ends: for those who make a thousand at a time, and soon end.

    One lock; a lock for every address and phone of a large file would fill the server's table of locks.
    """
    execute_raw("select pg_advisory_xact_lock(%(everybody)s)", {"everybody": _EVERYBODY})


def told(contact: Contact) -> Person:
    """Return what a record says as plain values."""
    return Person(
        first_name=contact.first_name,
        last_name=contact.last_name,
        email=contact.email,
        phone=contact.phone,
        birth_date=date.fromisoformat(contact.birth_date) if contact.birth_date else None,
        language=contact.language,
        time_zone=contact.time_zone,
        state=contact.state,
    )


def _known(found: Mapping[str, bytes | None]) -> list[Contact]:
    """Return who has the same address, phone or birth date; those with the same address first."""
    ids = [row.id for row in execute_raw(_CANDIDATES, found)]
    if not ids:
        return []
    known = db.session.scalars(select(Contact).where(Contact.id.in_(ids)).order_by(Contact.id)).all()
    return sorted(known, key=lambda one: one.email_index != found["email_index"])


_COLUMNS = [column.key for column in Contact.__table__.columns if column.key != "id"]
_INSERT = f"insert into contact ({', '.join(_COLUMNS)}) values ({', '.join(f'%({name})s' for name in _COLUMNS)}) returning id"


def _create(person: Person, found: Mapping[str, bytes | None], *, demo: bool) -> Contact:
    values: dict[str, Any] = {
        **dict.fromkeys(_COLUMNS),
        **found,
        "created_at": clock.now(),
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "phone": person.phone,
        "birth_date": person.birth_date.isoformat() if person.birth_date else None,
        "language": person.language,
        "time_zone": person.time_zone,
        "state": person.state,
        "demo": demo,
        "version": 1,
    }
    secret = {name: sealed(values[name]) for name in ("phone", "birth_date")}
    contact = Contact(id=execute_raw(_INSERT, values | secret).scalar_one(), **values)
    make_transient_to_detached(contact)  # it is in the database, in just this form
    db.session.add(contact)
    return contact


def _fill_gaps(contact: Contact, person: Person, found: Mapping[str, bytes | None]) -> list[str]:
    """Write what the record lacks; return the names of what it says otherwise."""
    known, differing = told(contact), []
    for name in ("email", "phone", "birth_date", "state", "first_name", "last_name"):
        new, old = getattr(person, name), getattr(known, name)
        if new is None or new == old:
            continue
        if old is not None:
            differing.append(name)
            continue
        setattr(contact, name, new.isoformat() if isinstance(new, date) else new)
        known = replace(known, **{name: new})
        index = {"email": "email_index", "phone": "phone_index", "birth_date": "name_birth_index"}.get(name)
        if index:
            setattr(contact, index, found[index])
    return differing


def get(contact_id: int) -> Contact:
    """Return a contact that has not been erased. Raises NotFound."""
    contact = db.session.get(Contact, contact_id)
    if contact is None or contact.erased_at is not None:
        raise NotFound("There is no such contact.")
    return contact


def record_activity(
    *,
    contact_id: int,
    kind: str,
    lead_id: int | None = None,
    text: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a line to the person's timeline, in the name of whoever is acting. Free text only in `text` (encrypted)."""
    db.session.add(
        Activity(
            contact_id=contact_id,
            lead_id=lead_id,
            at=clock.now(),
            kind=kind,
            actor=audit.current().actor,
            text=text,
            detail=detail,
        )
    )


def stop(*, contact_id: int, reason: str) -> None:
    """Send this person nothing more, for a clinical reason; stopping again changes nothing."""
    contact = get(contact_id)
    if contact.stopped_at is not None:
        return
    if not reason.strip():
        raise Invalid({"reason": ["Say why nothing may be sent."]})
    contact.stopped_at, contact.stop_reason = clock.now(), reason
    record_activity(contact_id=contact_id, kind="stopped", detail={"reason": reason})
    audit.record("contact.stop", object_type="contact", object_id=contact_id, detail={"reason": reason})
    events.publish(ContactStopped(contact_id=contact_id, reason=reason))


def lift_stop(*, contact_id: int) -> None:
    """Allow sending again after a clinical stop."""
    contact = get(contact_id)
    if contact.stopped_at is None:
        return
    contact.stopped_at = contact.stop_reason = None
    record_activity(contact_id=contact_id, kind="stop_lifted")
    audit.record("contact.lift_stop", object_type="contact", object_id=contact_id)


def clean_tag(text: str) -> str:
    """Return a tag as it is kept. Raises Invalid."""
    tag = " ".join(text.split()).lower()
    if not 0 < len(tag) <= TAG_LIMIT or not all(c.isalnum() or c in " -_" for c in tag):
        raise Invalid({"tag": [f"Use up to {TAG_LIMIT} letters, digits, spaces and hyphens."]})
    return tag


def add_tag(*, contact_id: int, tag: str) -> bool:
    """Put a tag on a person; tell whether it is new there."""
    tag = clean_tag(tag)
    get(contact_id)
    row = insert(Tag).values(contact_id=contact_id, tag=tag, added_at=clock.now())
    added = db.session.execute(row.on_conflict_do_nothing().returning(Tag.tag)).first() is not None
    if added:
        record_activity(contact_id=contact_id, kind="tagged", detail={"tag": tag})
        audit.record("contact.tag", object_type="contact", object_id=contact_id)
    return added


def remove_tag(*, contact_id: int, tag: str) -> bool:
    """Take a tag off a person; tell whether it was there. Raises Invalid for what is no tag."""
    tag = clean_tag(tag)
    gone = delete(Tag).where(Tag.contact_id == contact_id, Tag.tag == tag).returning(Tag.tag)
    removed = db.session.execute(gone).first() is not None
    if removed:
        record_activity(contact_id=contact_id, kind="untagged", detail={"tag": tag})
        audit.record("contact.untag", object_type="contact", object_id=contact_id)
    return removed
