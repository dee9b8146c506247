"""Two records of one person: who may be the same, making them one, and taking that back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, text, update

from crm.audit import service as audit
from crm.consent import queries as consents
from crm.consent import service as consent
from crm.contacts import service as contacts
from crm.contacts.models import Activity, Contact, Tag
from crm.core import clock, events
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.duplicates.models import Merge
from crm.leads.events import ContactsMerged
from crm.leads.models import Lead

SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Somebody who may be the same person, and what is equal."""

    contact: Contact
    alike: tuple[str, ...]


def candidates(contact: Contact) -> list[Candidate]:
    """Return up to ten other records with the same email address, phone number, or name and birth date."""
    indexes = {
        "email": (Contact.email_index, contact.email_index),
        "phone": (Contact.phone_index, contact.phone_index),
        "name and birth date": (Contact.name_birth_index, contact.name_birth_index),
    }
    ways = [column == value for column, value in indexes.values() if value is not None]
    if not ways or contact.merged_into_id is not None:
        return []
    others = select(Contact).where(
        or_(*ways), Contact.id != contact.id, Contact.merged_into_id.is_(None), Contact.erased_at.is_(None)
    )
    found = db.session.scalars(others.order_by(Contact.id).limit(SHOWN)).all()
    return [
        Candidate(
            contact=other,
            alike=tuple(
                name for name, (column, value) in indexes.items() if value and getattr(other, column.key) == value
            ),
        )
        for other in found
    ]  # fmt: skip


def merge(*, kept_id: int, gone_id: int) -> Merge:
    """Bring a record's leads, history and tags into another; its own names and addresses stay with it, out of use.

    A no in either record is a no afterwards, and so is a clinical stop. Raises NotFound, Invalid, Conflict.
    """
    if kept_id == gone_id:
        raise Invalid({"gone_id": ["Choose another record than this one."]})
    kept, gone = _both(kept_id, gone_id)
    if gone.merged_into_id is not None or kept.merged_into_id is not None:
        raise Conflict("One of these records was merged already.")
    now = clock.now()
    noes = _noes(kept_id) | _noes(gone_id)
    moved = _move_rows(kept_id, gone_id)
    gone.merged_into_id = kept_id
    db.session.flush()
    consent.merge_consent(from_id=gone_id, into_id=kept_id)
    for state in consents.states(kept_id):
        if state.granted and state.topic in noes:
            consent.withdraw(contact_id=kept_id, topic=state.topic, source="merge", reason="merged")
    if gone.stopped_at is not None:
        contacts.set_clinical_stop(contact_id=kept_id, reason=gone.stop_reason or "clinical")
    if gone.snooze_until is not None and (kept.snooze_until is None or kept.snooze_until < gone.snooze_until):
        kept.snooze_until = gone.snooze_until
    made = Merge(kept_id=kept_id, gone_id=gone_id, at=now, actor=audit.current().actor, moved=moved)
    db.session.add(made)
    db.session.flush()
    detail = {"kept_id": kept_id, "gone_id": gone_id, "merge_id": made.id}
    contacts.record_activity(contact_id=kept_id, kind="merged", detail=detail)
    audit.record("contact.merge", object_type="contact", object_id=kept_id, detail=detail)
    events.publish(ContactsMerged(kept_id=kept_id, gone_id=gone_id))
    made.moved = moved | {"enrolments": _move_enrolments(from_id=gone_id, to_id=kept_id)}
    db.session.flush()
    return made


# Who went through a series must not get it again under another record, so what has ended goes over; nothing is live any
# more by now. Messages stay where they are: each was sent to one record's address, and a bounce that comes late must
# stop that address. A person's timeline shows them all the same. Sequences lie above this feature: their table is
# written here by name.
_MOVE_ENROLMENTS = text("""
    update enrolment set contact_id = :to_id
    where contact_id = :from_id and state in ('completed', 'exited')
        and (cast(:ids as bigint[]) is null or id = any(:ids))
    returning id
""")


def _move_enrolments(*, from_id: int, to_id: int, ids: Sequence[int] | None = None) -> list[int]:
    given = {"from_id": from_id, "to_id": to_id, "ids": None if ids is None else list(ids)}
    return list(db.session.scalars(_MOVE_ENROLMENTS, given))


def undo(merge_id: int) -> Merge:
    """Part two records again: leads, history and tags go back where they were.

    Consent stays on the safe side: neither record gets a yes back that the merge had ended.
    Raises NotFound, Conflict when it was undone before or the kept record was itself merged since.
    """
    made = db.session.get(Merge, merge_id, with_for_update=True)
    if made is None:
        raise NotFound("There is no such merge.")
    kept, gone = _both(made.kept_id, made.gone_id)
    if made.undone_at is not None or gone.merged_into_id != kept.id:
        raise Conflict("This was taken back already.")
    if kept.merged_into_id is not None:
        raise Conflict("The record was merged into another one since. Take that back first.")
    for model, name in ((Lead, "leads"), (Activity, "activities")):
        back = update(model).where(model.id.in_(made.moved[name])).values(contact_id=gone.id)
        db.session.execute(back.execution_options(synchronize_session="fetch"))
    _move_enrolments(from_id=kept.id, to_id=gone.id, ids=made.moved.get("enrolments", []))
    for tag in made.moved["tags"]:
        contacts.remove_tag(contact_id=kept.id, tag=tag)
    gone.merged_into_id, made.undone_at = None, clock.now()
    detail = {"kept_id": kept.id, "gone_id": gone.id, "merge_id": made.id}
    contacts.record_activity(contact_id=kept.id, kind="merge_undone", detail=detail)
    audit.record("contact.unmerge", object_type="contact", object_id=kept.id, detail=detail)
    db.session.flush()
    return made


def of(contact_id: int) -> Sequence[Merge]:
    """Return the merges into a record that still hold, newest first."""
    rows = select(Merge).where(Merge.kept_id == contact_id, Merge.undone_at.is_(None))
    return db.session.scalars(rows.order_by(Merge.id.desc()).limit(SHOWN)).all()


def _both(kept_id: int, gone_id: int) -> tuple[Contact, Contact]:
    """Return both records, locked in the order of their ids."""
    ids = sorted((kept_id, gone_id))
    rows = select(Contact).where(Contact.id.in_(ids), Contact.erased_at.is_(None)).order_by(Contact.id)
    found = {one.id: one for one in db.session.scalars(rows.with_for_update(key_share=True)).all()}
    if len(found) != 2:
        raise NotFound("Contact not found.")
    return found[kept_id], found[gone_id]


def _noes(contact_id: int) -> set[str]:
    return {state.topic for state in consents.states(contact_id) if not state.granted}


def _move_rows(kept_id: int, gone_id: int) -> dict[str, Any]:
    moved: dict[str, Any] = {}
    for model, name in ((Lead, "leads"), (Activity, "activities")):
        rows = update(model).where(model.contact_id == gone_id).values(contact_id=kept_id).returning(model.id)
        moved[name] = list(db.session.scalars(rows.execution_options(synchronize_session="fetch")))
    gained = db.session.scalars(select(Tag.tag).where(Tag.contact_id == gone_id)).all()
    moved["tags"] = [tag for tag in gained if contacts.add_tag(contact_id=kept_id, tag=tag)]
    return moved
