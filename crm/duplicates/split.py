"""Splitting a record that holds two people: chosen leads and values go to a new record.

Consent, its evidence and sent email stay with the first record: they were given from, and sent to, what it was. The
second person is asked anew. A clinical stop holds for both.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import select, update

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import editing
from crm.contacts import service as contacts
from crm.contacts.models import Activity, Contact
from crm.contacts.rules import Person
from crm.core.db import db
from crm.core.errors import Invalid, NotFound
from crm.leads import stage_work
from crm.leads.models import Lead

SHARED = ("email", "phone", "birth_date", "chart_number")
"""Fields for which staff say whose they are."""

STAYS, MOVES, BOTH = "stays", "moves", "both"
KINDS = frozenset({"split"})  # of acts


def split_contact(
    *, contact_id: int, version: int, person: Person, whose: Mapping[str, str], lead_ids: Collection[int]
) -> Contact:
    """Make a record for the second person of a record that is still at `version`; return it.

    `person`: the second person, with the values that are theirs. `whose`: field of `SHARED` -> stays, moves or both.
    Raises NotFound, Invalid for leads of other people or a wrong choice, and Conflict.
    """
    contact = editing.locked(contact_id, version)
    was_suspended = stage_work.is_suspended(contact)
    moved = _leads_that_move(contact_id, whose, lead_ids)
    chart_number = contact.chart_number if whose.get("chart_number") in (MOVES, BOTH) else None
    cleared = {name: None for name, choice in whose.items() if choice == MOVES}
    editing.edit(contact_id=contact_id, version=version, values=cleared, source="split")
    second = contacts.create(person=person, demo=contact.demo)
    second.chart_number = chart_number
    db.session.flush()
    for model, column in ((Lead, Lead.id), (Activity, Activity.lead_id)):
        rows = update(model).where(column.in_(moved)).values(contact_id=second.id)
        db.session.execute(rows.execution_options(synchronize_session="fetch"))
    if contact.stopped_at is not None:  # whom of the two it is about is not known
        contacts.set_clinical_stop(contact_id=second.id, reason=contact.stop_reason or "clinical")
    for one in (contact, second):
        stage_work.settle(one, was_suspended=was_suspended)
    detail = {"from_id": contact_id, "to_id": second.id, "leads": moved}
    contacts.record_activity(contact_id=contact_id, kind="split", detail=detail)
    contacts.record_activity(contact_id=second.id, kind="split_off", detail=detail)
    audit.record("contact.split", object_type="contact", object_id=contact_id, detail=detail)
    db.session.flush()
    return second


def _leads_that_move(contact_id: int, whose: Mapping[str, str], lead_ids: Collection[int]) -> list[int]:
    if any(choice not in (STAYS, MOVES, BOTH) for choice in whose.values()):
        raise Invalid({"whose": ["Choose an answer from the list."]})
    theirs = select(Lead.id).where(Lead.contact_id == contact_id, Lead.id.in_(lead_ids))
    moved = list(db.session.scalars(theirs))
    if len(moved) != len(set(lead_ids)):
        raise Invalid({"leads": ["Choose leads of this person."]})
    return moved


def undo_split(act_id: int, *, contact_id: int) -> None:
    """Undo a split of the current actor; the history of both stays with the first record. Raises NotFound, Conflict."""
    made = acts.created(act_id, table="contact")
    line = db.session.scalar(
        select(Activity).where(Activity.contact_id.in_(made), Activity.kind == "split_off").limit(1)
    )
    if line is None or (line.detail or {}).get("from_id") != contact_id:
        raise NotFound("Action not found.")
    line.contact_id = contact_id  # history is kept
    db.session.flush()
    acts.undo(act_id, kinds=KINDS)
    contacts.record_activity(contact_id=contact_id, kind="act_undone", detail={"what": "split"})
