"""The clinic's side of the portal: messages with a practice about a referral, and the files that came with it."""

from typing import Any

from flask import (
    Response,
    abort,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from crm.audit import service as audit
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid, NotFound
from crm.desk.documents.sandboxed import sandboxed
from crm.leads import service
from crm.leads.models import Lead
from crm.portal import service as portal_service
from crm.portal import texts
from crm.staff import access

pages = ConsolePages("referrals", __name__, url_prefix="/referrers/referrals")


def _referral(reference: str) -> Lead:
    lead = service.by_reference(reference)
    if lead.referral is None:
        raise NotFound("No practice sent this lead.")
    return lead


@pages.get("/<reference>")
@access.require("read_clinical")
def show(reference: str) -> ResponseReturnValue:
    """What practice and clinic wrote about a referral, and its files."""
    return _show(_referral(reference))


def _show(lead: Lead, status: int = 200, **more: Any) -> Response:
    audit.record("portal_message.view", object_type="lead", object_id=lead.id, purpose="care")
    page = render_template(
        "console/portal/referral.html",
        lead=lead,
        practice=lead.referral.practice if lead.referral else None,
        messages=portal_service.messages_of(lead.id),
        files=portal_service.files_of(lead.id),
        **more,
    )
    return make_response(page, status)


@pages.post("/<reference>/messages")
@access.require("work_leads")
def write(reference: str) -> ResponseReturnValue:
    """Write to the practice; its people get an email that says only that there is a message."""
    lead = _referral(reference)
    try:
        portal_service.write_message(lead=lead, text=request.form.get("text", ""), from_clinic=True)
    except Invalid as error:
        wrong = {"text": texts.stored_problem(error.fields["text"][0])}
        abort(_show(lead, 422, errors=wrong, typed=request.form.get("text", "")))
    flash("Sent. The practice gets an email that there is a message.", "success")
    return redirect(url_for(".show", reference=lead.reference))


@pages.get("/<reference>/files/<int:attachment_id>")
@access.require("read_clinical")
def file(reference: str, attachment_id: int) -> ResponseReturnValue:
    """Hand out one file; never shown inside our pages."""
    row, content = portal_service.read_file(lead_id=_referral(reference).id, attachment_id=attachment_id)
    return sandboxed(content, kind=row.kind, name=row.name, download=True)
