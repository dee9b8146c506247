"""Erasing a person, for administrators: what goes, what stays, and the reference typed before it is done."""

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
from flask_babel import gettext

from crm.audit import service as audit
from crm.core.blueprints import ConsolePages
from crm.core.errors import Conflict, Invalid
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.privacy import rules, service
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages("privacy", __name__, url_prefix="/erase")


@pages.get("/<reference>")
@access.require("erase_people")
def show(reference: str) -> ResponseReturnValue:
    """What an erasure would take away and leave."""
    lead = leads.by_reference(reference)
    audit.record("contact.erase_view", object_type="contact", object_id=lead.contact_id)
    return _show(lead)


def _show(lead: Lead, status: int = 200, **more: Any) -> Response:
    facts = service.facts(service.records_of(lead.contact_id))
    page = render_template(
        "console/privacy/erase.html",
        lead=lead,
        person=lead.contact,
        goes=rules.GOES,
        stays=rules.STAYS,
        reasons=[one for one in rules.REASONS.items() if one[0] != "retention"],
        care=rules.care(facts),
        why_not=rules.refused(facts, despite_care=True),
        count=len(facts.kinds),
        **more,
    )
    return make_response(page, status)


@pages.post("/<reference>")
@access.require("erase_people")
@staff_session.fresh
@staff_session.tells_owner("erasure")
def erase(reference: str) -> ResponseReturnValue:
    """Erase the person for good, when the reference was typed."""
    lead = leads.by_reference(reference)
    wrong = {}
    if request.form.get("typed", "").strip().upper() != lead.reference:
        wrong["typed"] = [gettext("Type %(reference)s to confirm.", reference=lead.reference)]
    despite_care = request.form.get("despite_care") == "yes"
    try:
        if wrong:
            raise Invalid(wrong)
        service.erase(
            contact_id=lead.contact_id, reason=request.form.get("reason", ""), despite_care=despite_care
        )
    except Invalid as error:
        abort(_show(lead, 422, errors=dict(error.fields), typed=request.form))
    except Conflict as error:
        abort(_show(lead, 409, errors={"_": [error.message]}, typed=request.form))
    flash(gettext("Person erased. Their address gets no more email."), "success")
    return redirect(url_for("console.leads.show", reference=lead.reference))
