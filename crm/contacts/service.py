"""Creating and changing contacts: find or create, timeline entries, clinical stop, tags.

Nothing here merges two people; staff decide that (`crm.duplicates`).
"""

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import make_transient_to_detached

from crm.audit import service as audit
from crm.contacts.addresses import address_index
from crm.contacts.events import ClinicalStopLifted, ClinicalStopSet, TagAdded
from crm.contacts.models import Activity, Contact, Tag
from crm.contacts.phone_parts import phone_parts
from crm.contacts.rules import Match, Person, folded, match_person, number_of
from crm.core import clock, crypto, events, row_scope
from crm.core.db import db, execute_raw, sealed
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.text import clean

TAG_LIMIT = 40  # characters
PHONE, NAME_BIRTH = "phone", "name+birth"


@dataclass(frozen=True, kw_only=True)
class ContactMatch:
    """The contact of an intake, whether it is new, and the submitted fields that differ from the record."""

    contact: Contact
    is_new: bool
    differing: Sequence[str] = ()


KEYS = ("email_index", "phone_index", "name_birth_index")
"""The blind indexes by which a record may be the same person's."""


def blind_indexes(person: Person) -> dict[str, bytes | None]:
    """Return the blind indexes that find a person; None where the value is missing."""
    born = person.birth_date
    name = f"{folded(person.first_name)} {folded(person.last_name)}"
    return {
        "email_index": address_index(person.email) if person.email else None,
        "phone_index": crypto.blind_index(PHONE, number_of(person.phone)) if person.phone else None,
        **phone_parts(person.phone),
        "name_birth_index": crypto.blind_index(NAME_BIRTH, f"{name}|{born.isoformat()}") if born else None,
    }


_LOCK = """
    select pg_advisory_xact_lock_shared(:everybody)
    union all select pg_advisory_xact_lock(one) from unnest(:keys::bigint[]) one
"""
_EVERYBODY = 7_302_002  # the advisory lock key of contact creation
_CANDIDATES = """
    select id from contact
    where (email_index = :email_index or phone_index = :phone_index
           or name_birth_index = :name_birth_index)
        and erased_at is null
    order by id limit 50
"""


@row_scope.lifted()
def find_or_create(*, person: Person, demo: bool = False) -> ContactMatch:
    """Return the contact for `person`; create one when no known contact matches. Who matches a merged record is the
    person of the record that is left.

    Locks the address, phone and birth date until the transaction ends, so that equal intakes that arrive at the same
    time find each other. Fills empty fields of a known contact but never overwrites: anyone can submit a form.
    """
    found = blind_indexes(person)
    # Sorted, so that two intakes that share several keys cannot deadlock.
    keys = sorted({struct.unpack(">q", index[:8])[0] for name in KEYS if (index := found[name])})
    db.session.flush()
    execute_raw(_LOCK, {"keys": keys, "everybody": _EVERYBODY})
    alike = []
    for contact, survivor in _known(found):
        by_email = found["email_index"] is not None and contact.email_index == found["email_index"]
        match = match_person(person, as_person(contact), by_email=by_email)
        if match is Match.SAME and (locked := _lock_surviving(survivor)) is not None:
            return ContactMatch(contact=locked, is_new=False, differing=_fill_gaps(locked, person, found))
        if match is Match.LOOK_ALIKE:
            alike.append(survivor.id)
    contact = _create(person, found, demo=demo)
    for other in dict.fromkeys(alike):
        record_activity(contact_id=contact.id, kind="possible_duplicate", detail={"contact_id": other})
    return ContactMatch(contact=contact, is_new=True)


def create(*, person: Person, demo: bool = False) -> Contact:
    """Create a contact without looking for a known one: staff know that it is another person."""
    db.session.flush()
    return _create(person, blind_indexes(person), demo=demo)


def match_chosen(*, contact_id: int, person: Person) -> ContactMatch:
    """Return the contact that staff chose for `person`, with empty fields filled and nothing overwritten.

    Raises NotFound, and Conflict if the record was merged.
    """
    contact = get(contact_id)
    if contact.merged_into_id is not None or _lock_surviving(contact) is not contact:
        raise Conflict("This record was merged into another one. Choose that one.")
    differing = _fill_gaps(contact, person, blind_indexes(person))
    return ContactMatch(contact=contact, is_new=False, differing=differing)


def lock_contact_creation() -> None:
    """Lock contact creation until the transaction ends: for short transactions that create a thousand contacts.

    This is one lock; a lock for every address and phone of a large file would fill the server's lock table.
    """
    execute_raw("select pg_advisory_xact_lock(:everybody)", {"everybody": _EVERYBODY})


def as_person(contact: Contact) -> Person:
    """Return a contact's fields as a plain `Person`."""
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


def _known(found: Mapping[str, bytes | None]) -> list[tuple[Contact, Contact]]:
    """Return the records with the same address, phone, or name and birth date, each with the one that is left of it.

    The same address comes first, then records that were not merged.
    """
    ids = [row.id for row in execute_raw(_CANDIDATES, found)]
    if not ids:
        return []
    known = db.session.scalars(select(Contact).where(Contact.id.in_(ids)).order_by(Contact.id)).all()
    pairs = [(one, survivor) for one in known if (survivor := surviving(one)) is not None]
    return sorted(
        pairs, key=lambda pair: (pair[0].email_index != found["email_index"], pair[0] is not pair[1])
    )


def surviving(contact: Contact) -> Contact | None:
    """Return the record that is left of a merged one; the record itself if it was not merged, None if that was erased."""
    while contact.merged_into_id is not None:
        contact = db.session.get_one(Contact, contact.merged_into_id)
    return contact if contact.erased_at is None else None


def _lock_surviving(contact: Contact) -> Contact | None:
    """Lock the record until the transaction ends; return what is left of it then, as `surviving` does.

    An intake waits here while another transaction changes the record. Without the lock its own change would meet
    another version than it read, and the person's request would be refused.
    """
    db.session.refresh(contact, with_for_update=True)
    survivor = surviving(contact)
    return survivor if survivor is contact or survivor is None else _lock_surviving(survivor)


_COLUMNS = [column.key for column in Contact.__table__.columns if column.key != "id"]
_INSERT = f"insert into contact ({', '.join(_COLUMNS)}) values ({', '.join(f':{name}' for name in _COLUMNS)}) returning id"


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
    make_transient_to_detached(contact)  # the row already exists with these values
    db.session.add(contact)
    return contact


def _fill_gaps(contact: Contact, person: Person, found: Mapping[str, bytes | None]) -> list[str]:
    """Fill empty fields of the contact; return the names of the fields that differ."""
    known, differing = as_person(contact), []
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
        if name == "phone":
            for column, part in phone_parts(person.phone).items():
                setattr(contact, column, part)
    return differing


def get(contact_id: int) -> Contact:
    """Return a contact that has not been erased. Raises NotFound."""
    contact = db.session.get(Contact, contact_id)
    if contact is None or contact.erased_at is not None:
        raise NotFound("Contact not found.")
    return contact


def record_activity(
    *,
    contact_id: int,
    kind: str,
    lead_id: int | None = None,
    text: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add an entry to a person's timeline for the current actor. Free text goes only into `text` (encrypted)."""
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


def record_touch(contact_id: int) -> None:
    """Record that staff were in touch with a person just now: educational mail to them waits for a while."""
    db.session.execute(update(Contact).where(Contact.id == contact_id).values(touched_at=clock.now()))


def set_clinical_stop(*, contact_id: int, reason: str) -> None:
    """Set the clinical stop, so that no email is sent to this person; repeating it changes nothing."""
    contact = get(contact_id)
    if contact.stopped_at is not None:
        return
    if not reason.strip():
        raise Invalid({"reason": ["Enter a reason for the clinical stop."]})
    contact.stopped_at, contact.stop_reason = clock.now(), reason
    record_activity(contact_id=contact_id, kind="stopped", detail={"reason": reason})
    audit.record("contact.stop", object_type="contact", object_id=contact_id, detail={"reason": reason})
    events.publish(ClinicalStopSet(contact_id=contact_id, reason=reason))


def lift_clinical_stop(*, contact_id: int) -> None:
    """Lift the clinical stop, so that email may be sent again."""
    contact = get(contact_id)
    if contact.stopped_at is None:
        return
    contact.stopped_at = contact.stop_reason = None
    record_activity(contact_id=contact_id, kind="stop_lifted")
    audit.record("contact.lift_stop", object_type="contact", object_id=contact_id)
    events.publish(ClinicalStopLifted(contact_id=contact_id))


# Each tag once, by the index, however many people have it.
_ALL_TAGS = text("""
    with recursive tags as (
        (select tag from contact_tag order by tag limit 1)
        union all
        select (select t.tag from contact_tag t where t.tag > tags.tag order by t.tag limit 1)
        from tags where tags.tag is not null
    )
    select tag from tags where tag is not null
""")


def clean_tag(text: str) -> str:
    """Return a tag as it is stored. Raises Invalid."""
    tag = clean(text, lines=False).lower()
    if not 0 < len(tag) <= TAG_LIMIT or not all(c.isalnum() or c in " -_" for c in tag):
        raise Invalid({"tag": [f"Use up to {TAG_LIMIT} letters, digits, spaces and hyphens."]})
    return tag


def unknown_tags(tags: Collection[str]) -> dict[str, str | None]:
    """Return the clean tags that no contact has, each with the most similar tag in use, if any."""
    unknown = [
        tag for tag in tags if db.session.scalar(select(Tag.tag).where(Tag.tag == tag).limit(1)) is None
    ]
    if not unknown:
        return {}
    known = list(db.session.scalars(_ALL_TAGS))
    nearest = {tag: get_close_matches(tag, known, n=1) for tag in unknown}
    return {tag: found[0] if found else None for tag, found in nearest.items()}


def add_tag(*, contact_id: int, tag: str) -> bool:
    """Add a tag to a person; return whether it is new."""
    tag = clean_tag(tag)
    get(contact_id)
    row = insert(Tag).values(contact_id=contact_id, tag=tag, added_at=clock.now())
    added = db.session.execute(row.on_conflict_do_nothing().returning(Tag.tag)).first() is not None
    if added:
        record_activity(contact_id=contact_id, kind="tagged", detail={"tag": tag})
        audit.record("contact.tag", object_type="contact", object_id=contact_id)
        events.publish(TagAdded(contact_id=contact_id, tag=tag))
    return added


def remove_tag(*, contact_id: int, tag: str) -> bool:
    """Remove a tag from a person; return whether they had it. Raises Invalid."""
    tag = clean_tag(tag)
    removing = delete(Tag).where(Tag.contact_id == contact_id, Tag.tag == tag).returning(Tag.tag)
    removed = db.session.execute(removing).first() is not None
    if removed:
        record_activity(contact_id=contact_id, kind="untagged", detail={"tag": tag})
        audit.record("contact.untag", object_type="contact", object_id=contact_id)
    return removed
