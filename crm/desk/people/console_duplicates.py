"""Two records of one person, compared and merged field by field; one record of two people, split."""

from typing import Any

from flask import Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import edit_form, editing
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.contacts.rules import Person
from crm.core import clock, current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.flashes import flash_with_undo
from crm.desk.lead_page import has_permission, submitted_version
from crm.desk.list_filters import KINDS
from crm.desk.people.contact_page import LANGUAGES, PHONE_KINDS, present
from crm.duplicates import fields, split
from crm.duplicates import service as duplicates
from crm.leads import queries as leads
from crm.leads.rules import label
from crm.staff import access

pages = ConsolePages("duplicates", __name__, url_prefix="/contacts", part_of="contacts")

WHOSE = {
    split.STAYS: "Stays with the first person",
    split.MOVES: "Is the second person’s",
    split.BOTH: "Is shared",
}


def _two(contact_id: int, other_id: int) -> tuple[Contact, Contact]:
    """Return two records that look like one person. Raises NotFound, Conflict."""
    kept, gone = contacts.get(contact_id), contacts.get(other_id)
    if kept.merged_into_id is not None or gone.merged_into_id is not None or kept.id == gone.id:
        raise Conflict("One of these records was already merged.")
    return kept, gone


@pages.get("/<int:contact_id>/compare/<int:other_id>")
@access.require("manage_contacts")
def show_compare(contact_id: int, other_id: int) -> ResponseReturnValue:
    """Show two records side by side, with a choice for each field."""
    kept, gone = _two(contact_id, other_id)
    for one in (kept, gone):
        audit.record("contact.compare", object_type="contact", object_id=one.id, purpose="care")
    hidden = () if has_permission("read_clinical") else edit_form.CLINICAL
    return render_template(
        "console/people/compare.html",
        kept=kept,
        gone=gone,
        rows=[row for row in fields.compare(kept, gone) if row.name not in hidden],
        labels=edit_form.LABELS,
        words={"language": LANGUAGES, "phone_kind": PHONE_KINDS},
        leads={one.id: leads.leads_of(one.id) for one in (kept, gone)},
        code_label=label,
        kinds=KINDS,
    )


@pages.post("/<int:contact_id>/compare/<int:other_id>")
@access.require("manage_contacts")
def merge(contact_id: int, other_id: int) -> ResponseReturnValue:
    """Merge the other record into this one, with the chosen values."""
    editing.locked(contact_id, submitted_version())
    editing.locked(other_id, _number("gone_version"))
    taken = [name for name in fields.COMPARED if request.form.get(name) == "gone"]
    made = duplicates.merge_contacts(kept_id=contact_id, gone_id=other_id, taken=taken)
    undo = url_for(".unmerge", contact_id=contact_id, merge_id=made.id)
    flash_with_undo(gettext("Records merged."), undo=undo)
    return redirect(url_for("console.contacts.show", contact_id=contact_id))


def _number(name: str) -> int:
    text = request.form.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


@pages.post("/<int:contact_id>/unmerge/<int:merge_id>")
@access.require("manage_contacts")
def unmerge(contact_id: int, merge_id: int) -> ResponseReturnValue:
    """Undo a merge."""
    if merge_id not in {one.id for one in duplicates.merges_into(contact_id)}:
        raise NotFound("Merge not found.")
    duplicates.undo_merge(merge_id)
    flash(gettext("Merge undone. Both records and their consent are as before."), "success")
    return redirect(url_for("console.contacts.show", contact_id=contact_id))


@pages.get("/<int:contact_id>/split")
@access.require("manage_contacts")
def show_split(contact_id: int) -> ResponseReturnValue:
    """Show what goes to the second person."""
    return _split_form(present(contact_id), {}, {})


def _split_form(
    contact: Contact, typed: dict[str, Any], errors: dict[str, list[str]], status: int = 200
) -> Response:
    audit.record("contact.view", object_type="contact", object_id=contact.id, purpose="care")
    values = editing.values_of(contact)
    page = render_template(
        "console/people/split.html",
        person=contact,
        leads=leads.leads_of(contact.id),
        values={name: values[name] for name in split.SHARED if values[name]},
        labels=edit_form.LABELS,
        whose=list(WHOSE.items()),
        typed=typed,
        picked=request.form.getlist("lead"),
        errors=errors,
        kinds=KINDS,
    )
    return make_response(page, status)


def _picked_leads() -> list[int]:
    return [int(text) for text in request.form.getlist("lead") if text.isdecimal() and len(text) < 19]


@pages.post("/<int:contact_id>/split")
@access.require("manage_contacts")
def split_in_two(contact_id: int) -> ResponseReturnValue:
    """Split a record."""
    contact, typed = contacts.get(contact_id), request.form.to_dict()
    names = {name: typed.get(name, "") for name in ("first_name", "last_name")}
    read = edit_form.read_edit(names, today=clock.today(), clinic_zone=current.settings().clinic.time_zone)
    if read.wrong:
        return _split_form(contact, typed, read.wrong, 422)
    whose = {name: typed[name] for name in split.SHARED if name in typed}
    try:
        with acts.begin("split") as act:
            second = split.split_contact(
                contact_id=contact_id,
                version=submitted_version(),
                person=_second(contact, read.values, whose),
                whose=whose,
                lead_ids=_picked_leads(),
            )
    except (Invalid, Conflict) as error:
        found = error.fields if isinstance(error, Invalid) else {"_": [error.message]}
        abort(_split_form(contact, typed, found, 422 if isinstance(error, Invalid) else 409))
    undo = url_for(".undo_split", contact_id=contact_id, act_id=act.id)
    flash_with_undo(gettext("Record split. This is the second person."), undo=undo)
    return redirect(url_for("console.contacts.show", contact_id=second.id))


def _second(contact: Contact, names: dict[str, Any], whose: dict[str, str]) -> Person:
    """Return the second person with the values that are theirs; language and place as in the first record."""
    first = contacts.as_person(contact)
    theirs = {name for name, choice in whose.items() if choice in (split.MOVES, split.BOTH)}
    return Person(
        first_name=names["first_name"],
        last_name=names["last_name"],
        email=first.email if "email" in theirs else None,
        phone=first.phone if "phone" in theirs else None,
        birth_date=first.birth_date if "birth_date" in theirs else None,
        language=first.language,
        time_zone=first.time_zone,
        state=first.state,
    )


@pages.post("/<int:contact_id>/split/undo/<int:act_id>")
@access.require("manage_contacts")
def undo_split(contact_id: int, act_id: int) -> ResponseReturnValue:
    """Undo a split."""
    split.undo_split(act_id, contact_id=contact_id)
    flash(gettext("Undone. The record holds both people again."), "success")
    return redirect(url_for("console.contacts.show", contact_id=contact_id))
