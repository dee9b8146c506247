"""Calling pages: one lead after the other, with the reason why it is next; each call is logged by one key."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from flask import abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_security import current_user

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import queries as people
from crm.core import clock
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid
from crm.desk import lead_detail
from crm.desk.calling import call_list, claims
from crm.desk.calling.rounds import Round
from crm.desk.lead_page import (
    clinic_time,
    clinical_details,
    flash_undo,
    has_permission,
    timeline_entries,
)
from crm.desk.list_filters import KINDS
from crm.desk.models import CallClaim
from crm.leads import call_log, queries, service
from crm.leads.contact_attempts import CHANNELS, OUTCOMES, REACHED
from crm.leads.models import Lead
from crm.staff import access

pages = ConsolePages("calling", __name__, url_prefix="/leads/calling", part_of="leads")

SHOWN = 8  # of the list, before calling starts
HISTORY = 5  # lines of the timeline
ROUND = Round("calling")


@pages.get("")
@access.require("work_leads")
def index() -> ResponseReturnValue:
    """Show the lead that the signed-in user is calling, or whom they would call."""
    claim = claims.claim_of(current_user.id)
    return _render_lead(claim) if claim is not None else _render_start()


def _render_start() -> str:
    shown = call_list.load_calls(me=current_user.id, limit=SHOWN)
    crises = queries.leads_in_crisis()
    ids = [place.lead.id for place in shown.rows]
    audit.record("lead.worklist", detail={"list": "calling", "ids": [*(lead.id for lead in crises), *ids]})
    return render_template(
        "console/desk/calling.html",
        places=shown.rows,
        has_more=shown.next is not None,
        crises=crises,
        in_crisis=queries.people_in_crisis(),
        kinds=KINDS,
        count=ROUND.count,
        now=clock.now(),
    )


def _render_lead(claim: CallClaim, errors: dict[str, Sequence[str]] | None = None) -> str:
    lead = service.get(claim.lead_id)
    audit.record("lead.view", object_type="lead", object_id=lead.id, purpose="care")
    clinical = has_permission("read_clinical")
    lines = people.timeline(contact_id=lead.contact_id, cursor=None, only=None)
    return render_template(
        "console/desk/calling_lead.html",
        lead=lead,
        person=lead.contact,
        place=_place(lead),
        claim=claim,
        is_logged=lead.last_attempt_at is not None and lead.last_attempt_at >= claim.claimed_at,
        crises=queries.leads_in_crisis(),
        in_crisis=queries.people_in_crisis(),
        clinical=clinical_details(lead) if clinical else None,
        entries=timeline_entries(lines.rows[:HISTORY], clinical=clinical),
        their_now=clock.now().astimezone(ZoneInfo(lead.contact.time_zone)),
        outcome_keys=list(enumerate(OUTCOMES.items(), 1)),
        count=ROUND.count,
        kinds=KINDS,
        errors=errors or {},
        typed=request.form,
        now=clock.now(),
        **_work(lead),
    )


def _work(lead: Lead) -> dict[str, Any]:
    return {**lead_detail.work_sections(lead), "channels": list(CHANNELS.items())}


def _place(lead: Lead) -> call_list.CallPlace | None:
    first = call_list.load_calls(me=current_user.id, limit=claims.LOOKED_AT).rows
    return next((place for place in first if place.lead.id == lead.id), None)


@pages.post("/start")
@access.require("work_leads")
def start() -> ResponseReturnValue:
    """Begin: claim the first lead, and count from zero."""
    ROUND.begin()
    return _next()


@pages.post("/next")
@access.require("work_leads")
def next_lead() -> ResponseReturnValue:
    """Go to the next lead; one that was not called is not shown again until calling starts anew."""
    claim = claims.claim_of(current_user.id)
    if claim is not None:
        ROUND.skip(claim.lead_id)
    return _next()


def _next() -> ResponseReturnValue:
    if claims.claim_next(user_id=current_user.id, skipped=ROUND.skipped) is None:
        flash(gettext("There is no one else to call at this hour."), "info")
    return redirect(url_for(".index"))


@pages.post("/stop")
@access.require("work_leads")
def stop() -> ResponseReturnValue:
    """Stop calling; the lead is free for others."""
    claims.release(current_user.id)
    count = ROUND.end()
    flash(
        ngettext(
            "Calling stopped. %(num)s attempt logged.", "Calling stopped. %(num)s attempts logged.", count
        ),
        "success",
    )
    return redirect(url_for("console.work.index"))


@pages.post("/log")
@access.require("work_leads")
def log() -> ResponseReturnValue:
    """Log the outcome of the call: who was reached stays on the page, to be booked; otherwise the next lead follows."""
    claim = claims.claim_of(current_user.id)
    if claim is None:
        flash(gettext("Your time for this lead is over. Log the call on the page of the lead."), "info")
        return redirect(url_for(".index"))
    lead, outcome = service.get(claim.lead_id), request.form.get("outcome", "")
    try:
        again = clinic_time("call_again_at") if request.form.get("call_again_at") else None
        with acts.begin("call", lead_id=lead.id) as act:
            call_log.log_call(
                lead_id=lead.id,
                channel=request.form.get("channel") or "phone",
                outcome=outcome,
                note=request.form.get("note", ""),
                call_again_at=again,
            )
    except Invalid as error:
        abort(make_response(_render_lead(claim, dict(error.fields)), 422))
    ROUND.add_one()
    text = gettext("%(reference)s: %(outcome)s.", reference=lead.reference, outcome=OUTCOMES[outcome])
    flash_undo(text, lead=lead, act=act, back=url_for(".index"))
    return redirect(url_for(".index")) if outcome in REACHED else _next()
