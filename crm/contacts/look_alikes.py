"""Records that may be the person who is being entered: same mailbox, same number, same name."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, or_, select

from crm.contacts.models import Contact, ContactPhone
from crm.contacts.queries import matching_ids, present
from crm.contacts.rules import Person, folded
from crm.contacts.service import blind_indexes
from crm.core.db import db

SHOWN = 6
READ = 50  # people of one name


@dataclass(frozen=True, kw_only=True)
class LookAlike:
    """A record and what is the same: email, phone, name, birth date."""

    contact: Contact
    alike: tuple[str, ...]


def look_alikes(person: Person, *, limit: int = SHOWN) -> list[LookAlike]:
    """Return the records most like a person who is being entered, the most alike first."""
    indexes = blind_indexes(person)
    same = [
        getattr(Contact, name) == indexes[name]
        for name in ("email_index", "phone_index", "name_birth_index")
        if indexes[name] is not None
    ]
    if indexes["phone_index"] is not None:
        other = select(ContactPhone.contact_id).where(ContactPhone.phone_index == indexes["phone_index"])
        same.append(Contact.id.in_(db.session.scalars(other.limit(READ)).all()))
    found = _present(or_(*same)) if same else []
    found += [one for one in _of_name(person) if one not in found]
    numbers = _further_numbers([one.id for one in found])
    rated = [
        LookAlike(contact=one, alike=_alike(one, person, indexes, numbers.get(one.id, set())))
        for one in found
    ]
    return sorted(rated, key=lambda one: (-len(one.alike), one.contact.id))[:limit]


def _present(condition: ColumnElement[bool]) -> list[Contact]:
    rows = select(Contact).where(condition, *present())
    return list(db.session.scalars(rows.order_by(Contact.id).limit(READ)))


def _of_name(person: Person) -> Sequence[Contact]:
    """Return people of the same first and last name."""
    if not (person.first_name and person.last_name):
        return []
    ids = matching_ids(f"{person.first_name} {person.last_name}", limit=READ)
    found = _present(Contact.id.in_(select(ids.subquery().c.id))) if ids is not None else []
    return [one for one in found if _same_name(one, person)]


def _same_name(contact: Contact, person: Person) -> bool:
    firsts = {folded(contact.first_name), folded(contact.preferred_name or contact.first_name)}
    return folded(person.first_name) in firsts and folded(contact.last_name) == folded(person.last_name)


def _further_numbers(ids: Sequence[int]) -> dict[int, set[bytes]]:
    """Return contact -> the blind indexes of their further phone numbers."""
    found: dict[int, set[bytes]] = {}
    rows = select(ContactPhone.contact_id, ContactPhone.phone_index).where(ContactPhone.contact_id.in_(ids))
    for row in db.session.execute(rows):
        found.setdefault(row.contact_id, set()).add(bytes(row.phone_index))
    return found


def _alike(
    contact: Contact, person: Person, indexes: dict[str, bytes | None], further: set[bytes]
) -> tuple[str, ...]:
    born = person.birth_date.isoformat() if person.birth_date else None
    numbers = {contact.phone_index, *further}
    same = {
        "email": indexes["email_index"] is not None and contact.email_index == indexes["email_index"],
        "phone": indexes["phone_index"] is not None and indexes["phone_index"] in numbers,
        "name": _same_name(contact, person),
        "birth date": born is not None and contact.birth_date == born,
    }
    return tuple(name for name, holds in same.items() if holds)
