"""Console pages: open a record in an emergency, and the list of who viewed a person's record."""

from flask import Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import current_user

from crm.audit import service as audit
from crm.core import clock
from crm.core.blueprints import ConsolePages
from crm.core.db import db
from crm.core.errors import Invalid
from crm.desk.record_access import queries, service
from crm.desk.record_access.viewer_texts import ACTIONS
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.staff import access
from crm.staff import service as staff
from crm.staff.models import User

pages = ConsolePages("records", __name__, url_prefix="/records", part_of="leads")


@pages.get("/<reference>/emergency")
@access.require("open_in_emergency")
def emergency(reference: str) -> ResponseReturnValue:
    """Show the form to open the clinical details of one person in an emergency."""
    return _emergency(leads.by_reference(reference))


def _emergency(lead: Lead, status: int = 200, **more: object) -> Response:
    page = render_template(
        "console/record_access/emergency.html", lead=lead, reasons=list(service.REASONS.items()), **more
    )
    return make_response(page, status)


@pages.post("/<reference>/emergency")
@access.require("open_in_emergency")
def open_record(reference: str) -> ResponseReturnValue:
    """Open the clinical details of one person for an hour."""
    lead = leads.by_reference(reference)
    try:
        service.open_record(
            user=db.session.get_one(User, current_user.id),
            lead=lead,
            reason=request.form.get("reason", ""),
            text=request.form.get("text", ""),
        )
    except Invalid as error:
        abort(_emergency(lead, 422, errors=error.fields, typed=request.form))
    flash("The clinical details are open to you for one hour. An administrator was alerted.", "info")
    return redirect(url_for("console.leads.show", reference=lead.reference))


@pages.get("/<reference>/viewers")
@access.require("read_audit")
def viewers(reference: str) -> ResponseReturnValue:
    """List who viewed the record of a person, in sentences, to print for the person."""
    lead = leads.by_reference(reference)
    page = queries.viewers(lead.contact_id, cursor=request.args.get("cursor"))
    audit.record("contact.viewers", object_type="contact", object_id=lead.contact_id)
    return render_template(
        "console/record_access/viewers.html",
        lead=lead,
        entries=page.rows,
        names=staff.names_of({entry.actor for entry in page.rows}),
        actions=ACTIONS,
        openings=service.openings(lead.contact_id),
        reasons=service.REASONS,
        older=url_for(".viewers", reference=lead.reference, cursor=page.next) if page.next else None,
        now=clock.now(),
    )
