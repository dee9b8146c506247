"""Copy of one person's data, for staff who answer a request for access (45 CFR 164.524): a page and JSON in a ZIP file."""

from flask import Response, abort, make_response, render_template, request
from flask.typing import ResponseReturnValue

from crm.audit import service as audit
from crm.core.blueprints import ConsolePages
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.privacy import person_copy, texts
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages("person_copy", __name__, url_prefix="/copy", part_of="leads")


@pages.get("/<reference>")
@access.require("export_people")
def show(reference: str) -> ResponseReturnValue:
    """Ask what the copy is for."""
    return _page(leads.by_reference(reference))


def _page(lead: Lead, status: int = 200, **more: object) -> Response:
    return make_response(render_template("console/privacy/copy.html", lead=lead, **more), status)


@pages.post("/<reference>")
@access.require("export_people")
@staff_session.fresh
@staff_session.tells_owner("export")
def download(reference: str) -> ResponseReturnValue:
    """Download all that is held about the person of a lead."""
    lead = leads.by_reference(reference)
    purpose = " ".join(request.form.get("purpose", "").split())
    if not 10 <= len(purpose) <= 300:
        abort(
            _page(
                lead,
                422,
                errors={"purpose": ["Enter the purpose in 10 to 300 characters."]},
                typed=request.form,
            )
        )
    found = person_copy.full(lead.contact_id)
    numbers = {section: len(rows) for section, rows in found.items() if rows}
    audit.record(
        "contact.copy", object_type="contact", object_id=lead.contact_id, purpose=purpose, detail=numbers
    )
    page = render_template("public/own_data_copy.html", copy=found, words=texts, lang="en")
    answer = Response(person_copy.as_zip(found, page=page), content_type="application/zip")
    answer.headers["Content-Disposition"] = f'attachment; filename="{lead.reference}.zip"'
    return answer
