"""Duplicate contacts: candidates, merge and undo."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import or_, select, text, update

from crm.audit import acts
from crm.audit import service as audit
from crm.audit.models import ActChange
from crm.consent import queries as consents
from crm.consent import service as consent
from crm.contacts import service as contacts
from crm.contacts.models import Activity, Contact, Tag
from crm.core import clock, events
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.duplicates import fields
from crm.duplicates.models import Merge
from crm.leads import stage_work
from crm.leads.documents.models import Document
from crm.leads.events import ContactsMerged
from crm.leads.models import Lead

SHOWN = 10
UNDO_WITHIN = timedelta(days=30)  # that two records are of different people is often found out later


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A record that may be the same person, and the fields that match."""

    contact: Contact
    alike: tuple[str, ...]


def candidates(contact: Contact) -> list[Candidate]:
    """Return up to ten other records with the same email address, phone number, or name and birth date."""
    indexes = {
        "email": (Contact.email_index, contact.email_index),
        "phone": (Contact.phone_index, contact.phone_index),
        "name and birth date": (Contact.name_birth_index, contact.name_birth_index),
    }
    matches = [column == value for column, value in indexes.values() if value is not None]
    if not matches or contact.merged_into_id is not None:
        return []
    others = select(Contact).where(
        or_(*matches), Contact.id != contact.id, Contact.merged_into_id.is_(None), Contact.erased_at.is_(None)
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


def merge_contacts(*, kept_id: int, gone_id: int, taken: Collection[str] | None = None) -> Merge:
    """Move a record's leads, timeline and tags into another one; its names and addresses stay with it, unused.

    `taken`: fields whose value the kept record takes from the other one (`crm.duplicates.fields`); None: no field.
    An opt-out or clinical stop of either record applies afterwards. It can be undone for 30 days.
    Raises NotFound, Invalid, Conflict.
    """
    if kept_id == gone_id:
        raise Invalid({"gone_id": ["Choose a different record."]})
    kept, gone = _lock_both(kept_id, gone_id)
    if gone.merged_into_id is not None or kept.merged_into_id is not None:
        raise Conflict("One of these records was already merged.")
    with acts.begin("merge", within=UNDO_WITHIN) as act:
        if taken is not None:
            fields.apply(kept, gone, taken)
        _merge(kept, gone)
    made = Merge(kept_id=kept_id, gone_id=gone_id, at=clock.now(), actor=audit.current().actor, act_id=act.id)
    db.session.add(made)
    db.session.flush()
    detail = {"kept_id": kept_id, "gone_id": gone_id, "merge_id": made.id}
    contacts.record_activity(contact_id=kept_id, kind="merged", detail=detail)
    audit.record("contact.merge", object_type="contact", object_id=kept_id, detail=detail)
    db.session.flush()
    return made


def _merge(kept: Contact, gone: Contact) -> None:
    opted_out = _opted_out_topics(kept.id) | _opted_out_topics(gone.id)
    _move_rows(kept.id, gone.id)
    gone.merged_into_id = kept.id
    db.session.flush()
    consent.merge_consent(from_id=gone.id, into_id=kept.id)
    _withdraw(kept.id, opted_out)
    _copy_stops(gone, kept)
    stage_work.settle(kept, was_suspended=False)
    events.publish(ContactsMerged(kept_id=kept.id, gone_id=gone.id))
    db.session.execute(_MOVE_ENROLMENTS, {"from_id": gone.id, "to_id": kept.id})


def _withdraw(contact_id: int, topics: Collection[str]) -> None:
    """Withdraw what is still granted on these topics."""
    for state in consents.states(contact_id):
        if state.granted and state.topic in topics:
            consent.withdraw(contact_id=contact_id, topic=state.topic, source="merge", reason="merged")


def _copy_stops(gone: Contact, kept: Contact) -> None:
    """Copy the clinical stop, the longer snooze and the newer contact to the kept record."""
    kept.touched_at = max(filter(None, (kept.touched_at, gone.touched_at)), default=None)
    if gone.stopped_at is not None:
        contacts.set_clinical_stop(contact_id=kept.id, reason=gone.stop_reason or "clinical")
    if gone.snooze_until is not None and (kept.snooze_until is None or kept.snooze_until < gone.snooze_until):
        kept.snooze_until = gone.snooze_until


# A person who finished a sequence must not get it again under another record, so ended enrolments move; none is active by
# now. Messages stay: each was sent to one record's address, and a late bounce must suppress that address. The timeline
# shows them anyway. Sequences are above this feature in the import order, so their table is written here by name.
_MOVE_ENROLMENTS = text("""
    update enrolment set contact_id = :to_id where contact_id = :from_id and state in ('completed', 'exited')
""")


def undo_merge(merge_id: int) -> Merge:
    """Undo a merge: both records are as they were before it, the consent of each included.

    Raises NotFound, and Conflict after 30 days, if the merge was already undone, or if one of the records changed so
    that it cannot.
    """
    made = db.session.get(Merge, merge_id, with_for_update=True)
    if made is None:
        raise NotFound("Merge not found.")
    kept, gone = _lock_both(made.kept_id, made.gone_id)
    if made.undone_at is not None or gone.merged_into_id != kept.id:
        raise Conflict("This merge was already undone.")
    if kept.merged_into_id is not None:
        raise Conflict("The record was merged into another one since. Undo that merge first.")
    if made.act_id is None:
        raise Conflict("This merge can no longer be undone.")
    was_suspended = stage_work.is_suspended(kept)
    changes = acts.undo(made.act_id, by_anyone=True).changes
    for one in (kept, gone):
        stage_work.settle(one, was_suspended=was_suspended)
    consent.record_unmerge(kept_id=kept.id, gone_id=gone.id, before=_consent_before(changes))
    made.undone_at = clock.now()
    detail = {"kept_id": kept.id, "gone_id": gone.id, "merge_id": made.id}
    contacts.record_activity(contact_id=kept.id, kind="merge_undone", detail=detail)
    audit.record("contact.unmerge", object_type="contact", object_id=kept.id, detail=detail)
    db.session.flush()
    return made


def _consent_before(changes: Sequence[ActChange]) -> dict[tuple[int, str], int | None]:
    """Return contact and topic -> the evidence that held before the act; None where there was none."""
    return {
        (one.row_key["contact_id"], one.row_key["topic"]): (one.before or {}).get("record_id")
        for one in changes  # newest first: the earliest image of a row is the last
        if one.table_name == "consent_state"
    }


def merges_into(contact_id: int) -> Sequence[Merge]:
    """Return the merges into a record that can be undone, newest first."""
    rows = select(Merge).where(
        Merge.kept_id == contact_id,
        Merge.undone_at.is_(None),
        Merge.act_id.is_not(None),
        Merge.at >= clock.now() - UNDO_WITHIN,
    )
    return db.session.scalars(rows.order_by(Merge.id.desc()).limit(SHOWN)).all()


def _lock_both(kept_id: int, gone_id: int) -> tuple[Contact, Contact]:
    """Return both records, locked in the order of their ids."""
    ids = sorted((kept_id, gone_id))
    rows = select(Contact).where(Contact.id.in_(ids), Contact.erased_at.is_(None)).order_by(Contact.id)
    found = {one.id: one for one in db.session.scalars(rows.with_for_update(key_share=True)).all()}
    if len(found) != 2:
        raise NotFound("Contact not found.")
    return found[kept_id], found[gone_id]


def _opted_out_topics(contact_id: int) -> set[str]:
    return {state.topic for state in consents.states(contact_id) if not state.granted}


def _move_rows(kept_id: int, gone_id: int) -> None:
    for model in (Lead, Activity, Document):
        rows = update(model).where(model.contact_id == gone_id).values(contact_id=kept_id)
        db.session.execute(rows.execution_options(synchronize_session="fetch"))
    for tag in db.session.scalars(select(Tag.tag).where(Tag.contact_id == gone_id)).all():
        contacts.add_tag(contact_id=kept_id, tag=tag)
