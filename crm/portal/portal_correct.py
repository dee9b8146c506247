"""Portal pages by which a practice corrects a referral that it sent, while the referral is open."""

from collections.abc import Mapping
from typing import Any

from flask import Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.audit import service as audit
from crm.contacts.rules import STATE_ZONES, Problem
from crm.core import clock, current
from crm.core.blueprints import PortalPages
from crm.core.errors import Conflict, NotFound
from crm.core.flashes import flash_with_undo
from crm.intake.corrections import NumberTaken, SentForm
from crm.leads.crisis_words import mentions_crisis
from crm.leads.models import Lead
from crm.portal import correcting, page_context, referral_form, service
from crm.portal import texts as words
from crm.referrers import portal_session

pages = PortalPages("refer_correct", __name__, url_prefix="/refer/r/<reference>/correct")


def _own(reference: str) -> tuple[Lead, SentForm]:
    """Return a referral of this practice that it can correct. Raises NotFound, Conflict."""
    lead = service.get_for_practice(reference=reference, practice_id=portal_session.person().practice_id)
    form = correcting.form_of(lead)
    if form is None:
        raise Conflict(gettext("This referral can no longer be corrected here. Write to us instead."))
    return lead, form


@pages.get("")
@portal_session.signed_in
def show(reference: str) -> ResponseReturnValue:
    """Show what was sent, to correct it."""
    lead, form = _own(reference)
    return _form(lead, form.answers, number=form.number)


def _form(
    lead: Lead,
    typed: Mapping[str, str],
    *,
    number: int,
    errors: Mapping[str, Any] | None = None,
    status: int = 200,
) -> Response:
    audit.record("referral.view", object_type="lead", object_id=lead.id, purpose="care")
    page = render_template(
        "portal/correct.html",
        lead=lead,
        typed=dict(typed),
        number=number,
        is_urgent=lead.referral is not None and lead.referral.urgency == "urgent",
        states=[(code, code) for code in sorted(STATE_ZONES)],
        errors=errors or {},
    )
    return make_response(page, status)


@pages.post("")
@portal_session.signed_in
def save(reference: str) -> ResponseReturnValue:
    """Save the correction; show errors beside the answers, which are kept."""
    lead, form = _own(reference)
    page_context.not_too_often("refer-write", most=60)
    typed, number = referral_form.typed_answers(request.form), request.form.get("number", "")
    if number != str(form.number):
        said = gettext("Someone of your practice corrected this referral in the meantime. Check it below.")
        return _form(lead, form.answers, number=form.number, errors={"_": said}, status=422)
    read = referral_form.read_correction(typed, today=clock.today())
    if read.wrong:
        errors = {name: words.problem(wrong, name) for name, wrong in read.wrong.items()}
        return _form(lead, typed, number=form.number, errors=errors, status=422)
    try:
        act = correcting.correct(
            lead=lead,
            person=portal_session.person(),
            clean=read.clean,
            number=form.number,
            zone=current.settings().clinic.time_zone,
        )
    except NumberTaken:
        errors = {"external_id": words.problem(Problem("external_id"), "external_id")}
        return _form(lead, typed, number=form.number, errors=errors, status=409)
    if act is None:
        flash(gettext("Nothing was changed."), "info")
    else:
        undo = url_for(".undo", reference=lead.reference, act_id=act.id)
        flash_with_undo(gettext("Your correction was saved. The clinic is notified."), undo=undo)
    crisis = "now" if mentions_crisis(read.clean["reason"]) else None
    return redirect(url_for("refer.show", reference=lead.reference, help=crisis), code=303)


@pages.post("/<int:act_id>/undo")
@portal_session.signed_in
def undo(reference: str, act_id: int) -> ResponseReturnValue:
    """Undo a correction within an hour, if nothing that it changed was changed since."""
    lead, _form_sent = _own(reference)
    try:
        correcting.undo(act_id, lead=lead)
    except (Conflict, NotFound):
        flash(gettext("This can no longer be undone. Correct the referral again instead."), "warning")
    else:
        flash(gettext("Your correction was undone."), "success")
    return redirect(url_for("refer.show", reference=lead.reference), code=303)
