"""Editing a person in place: the form, what the person wrote otherwise, tags, undo."""

from flask import abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.audit import acts
from crm.contacts import edit_form, editing
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.core import clock, current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Conflict, Invalid
from crm.core.flashes import flash_with_undo
from crm.desk.lead_page import has_permission, submitted_version
from crm.desk.people.contact_page import flash_undo, form_of, present, render_contact
from crm.referrers import accounts
from crm.staff import access, redirects

pages = ConsolePages("people", __name__, url_prefix="/contacts", part_of="contacts")


def _typed() -> dict[str, str]:
    """Return the fields of the form that this member of staff may change."""
    hidden = () if has_permission("read_clinical") else edit_form.CLINICAL
    return {
        name: request.form[name] for name in edit_form.LABELS if name in request.form and name not in hidden
    }


@pages.post("/<int:contact_id>/edit")
@access.require("manage_contacts")
def edit(contact_id: int) -> ResponseReturnValue:
    """Save the fields of a person."""
    contact = contacts.get(contact_id)
    typed = _typed()
    texts = request.form.getlist("more_number")
    numbers = list(zip(request.form.getlist("more_kind"), texts, strict=False))
    read = edit_form.read_edit(
        typed,
        today=clock.today(),
        clinic_zone=current.settings().clinic.time_zone,
        numbers=numbers if texts else None,
    )
    if read.wrong:
        _show_again(contact, typed, numbers, read.wrong)
    try:
        accounts.check_address(contact_id=contact.id, email=read.values.get("email", contact.email))
        with acts.begin("edit_contact") as act:
            changed = editing.edit(
                contact_id=contact.id, version=submitted_version(), values=read.values, phones=read.phones
            )
    except Invalid as error:
        _show_again(contact, typed, numbers, error.fields)
    except Conflict as error:
        _show_again(contact, typed, numbers, {"_": [error.message]}, status=409)
    if changed:
        flash_undo(_said(changed), contact=contact, act=act)
    else:
        flash(gettext("Nothing was changed."), "info")
    return redirect(redirects.safe_next_url() or url_for("console.contacts.show", contact_id=contact.id))


def _show_again(
    contact: Contact,
    typed: dict[str, str],
    numbers: list[tuple[str, str]],
    errors: dict[str, list[str]],
    *,
    status: int = 422,
) -> None:
    """Show the form again with what was typed."""
    abort(render_contact(contact, status, edit_form=form_of(typed, numbers, errors)))


def _said(changed: list[str]) -> str:
    names = ", ".join(edit_form.LABELS[name].lower() for name in changed)
    text = gettext("Saved: %(names)s.", names=names)
    if "email" in changed:
        text += " " + gettext(
            "The old address keeps its opt-outs. Emails stop until this person agrees at the new address."
        )
    return str(text)


@pages.post("/<int:contact_id>/differences/<int:activity_id>")
@access.require("manage_contacts")
def settle(contact_id: int, activity_id: int) -> ResponseReturnValue:
    """Take over one field as the person wrote it, or keep the record as it is."""
    contact, field = contacts.get(contact_id), request.form.get("field", "")
    back = redirect(redirects.safe_next_url() or url_for("console.contacts.show", contact_id=contact_id))
    if request.form.get("do") == "keep":
        editing.keep(contact_id=contact_id, activity_id=activity_id, field=field)
        flash(gettext("The record stays as it is."), "success")
        return back
    if field == "email":
        accounts.check_address(contact_id=contact_id, email=None)
    with acts.begin("edit_contact") as act:
        editing.take_over(
            contact_id=contact_id, version=submitted_version(), activity_id=activity_id, field=field
        )
    flash_undo(_said([field]), contact=contact, act=act)
    return back


@pages.post("/<int:contact_id>/undo/<int:act_id>")
@access.require("manage_contacts")
def undo(contact_id: int, act_id: int) -> ResponseReturnValue:
    """Undo an edit."""
    editing.undo(act_id, contact_id=contact_id)
    flash(gettext("Undone."), "success")
    return redirect(url_for("console.contacts.show", contact_id=contact_id))


@pages.post("/<int:contact_id>/tag")
@access.require("work_leads")
def tag(contact_id: int) -> ResponseReturnValue:
    """Add a tag to a person, or remove one."""
    contact = present(contact_id)
    off = request.form.get("off", "")
    try:
        with acts.begin("tag_contacts") as act:
            if off:
                contacts.remove_tag(contact_id=contact.id, tag=off)
            else:
                contacts.add_tag(contact_id=contact.id, tag=request.form.get("tag", ""))
    except Invalid as error:
        abort(render_contact(contact, 422, errors=error.fields))
    undo_href = url_for(
        "console.contacts.undo_tags",
        act_id=act.id,
        back=url_for("console.contacts.show", contact_id=contact.id),
    )
    flash_with_undo(gettext("Tags saved."), undo=undo_href)
    return redirect(url_for("console.contacts.show", contact_id=contact.id))
