"""Document pages: the fax inbox, the viewer, which shows a file only inside a sandbox, uploads and removal."""

from typing import Any

from flask import Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.core import current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid, NotFound
from crm.core.file_types import MOST_BYTES
from crm.core.flashes import flash_with_undo
from crm.desk.documents.sandboxed import sandboxed
from crm.leads import service as leads
from crm.leads.documents import service
from crm.leads.documents.models import Document
from crm.leads.models import Lead
from crm.staff import access

pages = ConsolePages("documents", __name__, url_prefix="/documents", part_of="leads")

KIND = "document"  # of the acts
UPLOADS = ("console.documents.add_to_lead", "console.documents.add_to_contact")


@pages.url_value_preprocessor
def _raise_body_limit(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Accept a large body from signed-in staff only. Runs before the body is read."""
    if endpoint in UPLOADS and current_user.is_authenticated:
        request.max_content_length = MOST_BYTES + 1024 * 1024


@pages.get("")
@access.require("read_clinical")
def index() -> ResponseReturnValue:
    """List the faxes that wait for a lead."""
    waiting = service.inbox()
    audit.record("document.inbox", detail={"documents": [row.id for row in waiting]})
    return render_template(
        "console/documents/index.html", documents=waiting, is_set=current.settings().fax_folder is not None
    )


@pages.post("/leads/<reference>")
@access.require("work_leads")
def add_to_lead(reference: str) -> ResponseReturnValue:
    """Keep a file with a lead."""
    lead = leads.by_reference(reference)
    back = url_for("console.leads.show", reference=lead.reference) + "#files"
    return _add(back, lead_id=lead.id)


@pages.post("/contacts/<int:contact_id>")
@access.require("work_leads")
def add_to_contact(contact_id: int) -> ResponseReturnValue:
    """Keep a file with a contact."""
    contact = contacts.get(contact_id)
    back = url_for("console.contacts.show", contact_id=contact.id) + "#files"
    return _add(back, contact_id=contact.id)


def _add(back: str, **of: int) -> ResponseReturnValue:
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Invalid({"file": ["Choose a file."]})
    with file.stream as stream:
        content = stream.read(MOST_BYTES + 1)
    service.add(name=file.filename, content=content, **of)
    flash(gettext("File added."), "success")
    return redirect(back)


@pages.get("/<int:document_id>")
@access.require("read_clinical")
def show(document_id: int) -> ResponseReturnValue:
    """Show a document in a sandbox, with what can be done with it."""
    return _show(service.get(document_id))


def _show(row: Document, status: int = 200, **more: Any) -> Response:
    lead = leads.get(row.lead_id) if row.lead_id is not None else None
    page = render_template(
        "console/documents/show.html", document=row, lead=lead, person=service.person_of(row), **more
    )
    return make_response(page, status)


@pages.get("/<int:document_id>/content")
@access.require("read_clinical")
def content(document_id: int) -> ResponseReturnValue:
    """Return the bytes of a document, to be shown in a sandbox or kept as a file."""
    row, held = service.read(document_id)
    return sandboxed(held, kind=row.kind, name=row.name, download="download" in request.args)


@pages.post("/<int:document_id>/attach")
@access.require("work_leads")
def attach(document_id: int) -> ResponseReturnValue:
    """Attach a fax to a lead, by its reference."""
    row = service.get(document_id)
    typed = request.form.get("reference", "").strip()
    try:
        lead = _lead(typed)
        with acts.begin(KIND) as act:
            service.attach(document_id=row.id, lead_id=lead.id)
    except Invalid as error:
        return _show(row, 422, errors=error.fields, typed=typed)
    undo = url_for(".undo", act_id=act.id)
    flash_with_undo(gettext("Fax attached to %(reference)s.", reference=lead.reference), undo=undo)
    return redirect(url_for(".index"))


def _lead(reference: str) -> Lead:
    try:
        return leads.by_reference(reference)
    except NotFound as error:
        raise Invalid({"reference": ["Enter the reference of a lead, such as R-7K3F9Q."]}) from error


@pages.post("/<int:document_id>/remove")
@access.require("work_leads")
def remove(document_id: int) -> ResponseReturnValue:
    """Remove a document."""
    row = service.get(document_id)
    lead = leads.get(row.lead_id) if row.lead_id is not None else None
    with acts.begin(KIND) as act:
        service.remove(document_id)
    undo = url_for(".undo", act_id=act.id)
    flash_with_undo(gettext("File removed. It is deleted after 30 days."), undo=undo)
    if lead is not None:
        return redirect(url_for("console.leads.show", reference=lead.reference))
    if row.contact_id is not None:
        return redirect(url_for("console.contacts.show", contact_id=row.contact_id))
    return redirect(url_for(".index"))


@pages.post("/undo/<int:act_id>")
@access.require("work_leads")
def undo(act_id: int) -> ResponseReturnValue:
    """Undo an act of the signed-in user on a document."""
    acts.undo(act_id, kinds=(KIND,))
    flash(gettext("Undone."), "success")
    return redirect(url_for(".index"))
