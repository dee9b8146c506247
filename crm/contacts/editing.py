"""Editing a person: every field with its history, under an optimistic lock; a changed address is announced.

Suppressions and bounces belong to an address and stay with it (`crm.consent`, `crm.tracking`). What a new address
means for consent and for queued mail is decided where `AddressChanged` is handled.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm.exc import StaleDataError

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import edit_form, service
from crm.contacts.events import AddressChanged
from crm.contacts.models import Activity, Contact, ContactChange, ContactPhone
from crm.contacts.phone_parts import phone_parts
from crm.contacts.rules import number_of
from crm.core import clock, crypto, events
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound

CHANGED = "This record was changed in the meantime. Review it and try again."
SHOWN = 50  # changes of a person
DIFFERENCES = 20  # newest entries that say what was written otherwise


def values_of(contact: Contact) -> dict[str, Any]:
    """Return every editable field of a contact; birth date as a date."""
    guardian = json.loads(contact.guardian) if contact.guardian else {}
    return {
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "preferred_name": contact.preferred_name,
        "email": contact.email,
        "phone": contact.phone,
        "phone_kind": contact.phone_kind,
        "language": contact.language,
        "state": contact.state,
        "time_zone": contact.time_zone,
        "birth_date": date.fromisoformat(contact.birth_date) if contact.birth_date else None,
        "chart_number": contact.chart_number,
        **{name: guardian.get(name.removeprefix("guardian_")) for name in edit_form.GUARDIAN},
    }


def phones_of(contact_id: int) -> Sequence[ContactPhone]:
    """Return a person's further phone numbers."""
    rows = select(ContactPhone).where(ContactPhone.contact_id == contact_id)
    return db.session.scalars(rows.order_by(ContactPhone.id)).all()


def changes_of(contact_id: int, *, limit: int = SHOWN) -> Sequence[ContactChange]:
    """Return the edits of a person, newest first."""
    rows = select(ContactChange).where(ContactChange.contact_id == contact_id)
    return db.session.scalars(rows.order_by(ContactChange.id.desc()).limit(limit)).all()


def _set_fields(
    contact: Contact, before: Mapping[str, Any], values: Mapping[str, Any], *, source: str
) -> list[str]:
    """Set what differs, with its history and what follows from it; return the names."""
    changed = [name for name, value in values.items() if before[name] != value]
    for name in changed:
        _set(contact, name, values[name])
        _note(contact.id, name, before[name], values[name], source=source)
    if set(changed) & set(edit_form.GUARDIAN):
        contact.guardian = _guardian({**before, **values})
    for name, index in service.blind_indexes(service.as_person(contact)).items():
        if getattr(contact, name) != index:
            setattr(contact, name, index)
    return changed


def edit(
    *,
    contact_id: int,
    version: int,
    values: Mapping[str, Any],
    phones: Sequence[tuple[str, str]] | None = None,
    source: str = "edit",
    asks: bool = True,
) -> list[str]:
    """Set clean values of a contact that is still at `version`; return the names of the fields that changed.

    `phones`: all further numbers as (kind, number); None keeps them. `asks`: consent may be asked at a new address.
    Raises NotFound, and Conflict if the contact was changed in the meantime, merged or erased.
    """
    contact = locked(contact_id, version)
    before, index_before = values_of(contact), contact.email_index
    changed = _set_fields(contact, before, values, source=source)
    if phones is not None and _replace_phones(contact_id, phones, source=source):
        changed.append("more_phones")
    if not changed:
        return []
    contact.edited_at = clock.now()  # a new version, also where only a further number changed
    _flush()
    detail = {"fields": changed}
    service.record_activity(contact_id=contact_id, kind="edited", detail=detail)
    audit.record("contact.edit", object_type="contact", object_id=contact_id, detail=detail)
    if contact.email_index != index_before:
        events.publish(AddressChanged(contact_id=contact_id, before=index_before, asks=asks))
    return changed


def locked(contact_id: int, version: int) -> Contact:
    """Return a contact that is still at `version`, locked. Raises NotFound, Conflict."""
    _flush()
    try:
        contact = db.session.get(Contact, contact_id, with_for_update=True, populate_existing=True)
    except StaleDataError as error:
        raise Conflict(CHANGED) from error
    if contact is None or contact.erased_at is not None:
        raise NotFound("Contact not found.")
    if contact.version != version or contact.merged_into_id is not None:
        raise Conflict(CHANGED)
    return contact


def _flush() -> None:
    try:
        db.session.flush()
    except StaleDataError as error:
        raise Conflict(CHANGED) from error


def _set(contact: Contact, name: str, value: Any) -> None:
    if name not in edit_form.GUARDIAN:  # one column holds all of the guardian
        setattr(contact, name, value.isoformat() if isinstance(value, date) else value)


def _guardian(values: Mapping[str, Any]) -> str | None:
    given = {name.removeprefix("guardian_"): values[name] for name in edit_form.GUARDIAN if values[name]}
    return json.dumps(given, ensure_ascii=False) if given else None


def _note(contact_id: int, field: str, before: Any, after: Any, *, source: str) -> None:
    db.session.add(
        ContactChange(
            contact_id=contact_id,
            at=clock.now(),
            actor=audit.current().actor,
            field=field,
            before=None if before in (None, "") else str(before),
            after=None if after in (None, "") else str(after),
            source=source,
        )
    )


def _replace_phones(contact_id: int, phones: Sequence[tuple[str, str]], *, source: str) -> bool:
    """Make these the further numbers; return whether anything changed."""
    known = [(one.kind, one.number) for one in phones_of(contact_id)]
    if known == list(phones):
        return False
    db.session.execute(delete(ContactPhone).where(ContactPhone.contact_id == contact_id))
    for kind, number in phones:
        index = crypto.blind_index(service.PHONE, number_of(number))
        db.session.add(
            ContactPhone(
                contact_id=contact_id, kind=kind, number=number, phone_index=index, **phone_parts(number)
            )
        )
    lines = [", ".join(f"{kind} {number}" for kind, number in numbers) for numbers in (known, phones)]
    _note(contact_id, "more_phones", lines[0], lines[1], source=source)
    return True


def undo(act_id: int, *, contact_id: int, lead_id: int | None = None) -> None:
    """Undo an edit of the current actor, or their act on a lead that edited its person, too.

    Raises NotFound, and Conflict if something changed since.
    """
    before = service.get(contact_id)
    was, index_was = values_of(before), before.email_index
    if lead_id is None and not acts.concerns(act_id, table="contact", row_id=contact_id):
        raise NotFound("Action not found.")
    acts.undo(act_id, lead_id=lead_id)
    contact = service.get(contact_id)
    for name, value in values_of(contact).items():
        if value != was[name]:
            _note(contact_id, name, was[name], value, source="undo")
    service.record_activity(
        contact_id=contact_id, lead_id=lead_id, kind="act_undone", detail={"what": "edit"}
    )
    if contact.email_index != index_was:
        events.publish(AddressChanged(contact_id=contact_id, before=index_was, asks=False))


# --- what a person wrote that differs from the record


def _settled(lines: Iterable[Activity]) -> set[tuple[int, str]]:
    """Return (entry, field) of what was declined."""
    return {
        (line.detail["activity_id"], name)
        for line in lines
        if line.kind == "difference_kept" and line.detail
        for name in line.detail["fields"]
    }


def differences(contact: Contact) -> list[tuple[Activity, dict[str, str]]]:
    """Return the entries that say what the person wrote otherwise, newest first, with what still differs."""
    rows = select(Activity).where(
        Activity.contact_id == contact.id, Activity.kind.in_(("told_otherwise", "difference_kept"))
    )
    lines = db.session.scalars(rows.order_by(Activity.at.desc(), Activity.id.desc()).limit(DIFFERENCES)).all()
    settled = _settled(lines)
    now = {name: str(value) for name, value in values_of(contact).items() if value is not None}
    found = []
    for line in lines:
        said = edit_form.read_differences(line.text or "") if line.kind == "told_otherwise" else {}
        left = {
            name: value
            for name, value in said.items()
            if now.get(name, "") != value and (line.id, name) not in settled
        }
        if left:
            found.append((line, left))
    return found


def take_over(*, contact_id: int, version: int, activity_id: int, field: str) -> None:
    """Set one field to what the person wrote. Raises NotFound, Conflict, Invalid."""
    value = _written(service.get(contact_id), activity_id, field)
    read = edit_form.read_edit({field: value}, today=clock.today(), clinic_zone="UTC")
    if read.wrong:
        raise Invalid(read.wrong)
    edit(contact_id=contact_id, version=version, values=read.values, source="wrote_otherwise")


def keep(*, contact_id: int, activity_id: int, field: str) -> None:
    """Settle that the record stays as it is, although the person wrote something else. Raises NotFound."""
    _written(service.get(contact_id), activity_id, field)
    detail = {"activity_id": activity_id, "fields": [field]}
    service.record_activity(contact_id=contact_id, kind="difference_kept", detail=detail)
    audit.record("contact.keep", object_type="contact", object_id=contact_id, detail=detail)


def _written(contact: Contact, activity_id: int, field: str) -> str:
    for line, left in differences(contact):
        if line.id == activity_id and field in left:
            return left[field]
    raise NotFound("This difference was already settled.")
