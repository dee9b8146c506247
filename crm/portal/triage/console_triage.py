"""Triage pages: one referral after the other with all that came with it; each decision is one key."""

from collections.abc import Sequence
from datetime import date

from flask import abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_security import current_user

from crm.audit import service as audit
from crm.contacts import queries as people
from crm.core import clock
from crm.core.blueprints import ConsolePages
from crm.core.errors import Conflict, Invalid
from crm.desk import search
from crm.desk.calling import claims
from crm.desk.calling.rounds import Round
from crm.desk.lead_page import SERVICES, clinical_details, flash_undo, submitted_version, timeline_entries
from crm.desk.models import CallClaim, Work
from crm.duplicates import service as duplicates
from crm.leads import queries, rules
from crm.leads import service as leads
from crm.portal import service as portal
from crm.portal import texts
from crm.portal.triage import review_list, service
from crm.staff import access

pages = ConsolePages("triage", __name__, url_prefix="/leads/triage", part_of="leads")

SHOWN = 8  # of the list, before the review starts
HISTORY = 5  # lines of the timeline
ROUND = Round("triage")
ASK_KEYS, DECLINE_KEYS = "qwert", "12345678"  # two rows of the keyboard, in the order of the reasons


@pages.get("")
@access.require("work_leads")
def index() -> ResponseReturnValue:
    """Show the referral that the signed-in user has, or what waits."""
    claim = claims.claim_of(current_user.id, work=Work.REVIEW)
    return _render_referral(claim) if claim is not None else _render_start()


def _render_start() -> str:
    waiting = review_list.load_waiting(me=current_user.id, limit=SHOWN)
    audit.record("lead.worklist", detail={"list": "triage", "ids": [lead.id for lead in waiting]})
    return render_template(
        "console/triage/index.html",
        leads=waiting,
        total=review_list.count_waiting(),
        most=review_list.LOOKED_AT,
        in_crisis=queries.people_in_crisis(),
        code_label=rules.label,
        now=clock.now(),
    )


def _render_referral(claim: CallClaim, errors: dict[str, Sequence[str]] | None = None) -> str:
    lead = leads.get(claim.lead_id)
    audit.record("referral.view", object_type="lead", object_id=lead.id, purpose="care")
    lines = people.timeline(contact_id=lead.contact_id, cursor=None, only=None)
    reasons = service.REASONS
    return render_template(
        "console/triage/referral.html",
        lead=lead,
        person=lead.contact,
        claim=claim,
        age=_age(lead.contact.birth_date, clock.today()),
        clinical=clinical_details(lead),
        messages=portal.messages_of(lead.id),
        files=portal.files_of(lead.id),
        same=duplicates.candidates(lead.contact),
        others=search.other_leads(lead),
        entries=timeline_entries(lines.rows[:HISTORY], clinical=True),
        ask_keys=list(zip(ASK_KEYS, reasons[service.ASKED], strict=True)),
        decline_keys=list(zip(DECLINE_KEYS, reasons[service.DECLINED], strict=True)),
        in_crisis=queries.people_in_crisis(),
        count=ROUND.count,
        waiting=review_list.count_waiting(),
        services=SERVICES,
        code_label=rules.label,
        errors=errors or {},
        typed=request.form,
        now=clock.now(),
    )


def _age(text: str | None, today: date) -> int | None:
    if text is None:
        return None
    birth_date = date.fromisoformat(text)
    had_birthday = (today.month, today.day) >= (birth_date.month, birth_date.day)
    return today.year - birth_date.year - (not had_birthday)


@pages.post("/start")
@access.require("work_leads")
def start() -> ResponseReturnValue:
    """Begin: claim the first referral, and count from zero."""
    ROUND.begin()
    return _next()


@pages.post("/next")
@access.require("work_leads")
def next_referral() -> ResponseReturnValue:
    """Go to the next referral; this one is not shown again until the review starts anew."""
    claim = claims.claim_of(current_user.id, work=Work.REVIEW)
    if claim is not None:
        ROUND.skip(claim.lead_id)
    return _next()


def _next() -> ResponseReturnValue:
    if service.claim_next(user_id=current_user.id, skipped=ROUND.skipped) is None:
        flash(gettext("No other referral waits for a decision."), "info")
    return redirect(url_for(".index"))


@pages.post("/stop")
@access.require("work_leads")
def stop() -> ResponseReturnValue:
    """Stop the review; the referral is free for others."""
    claims.release(current_user.id)
    count = ROUND.end()
    flash(
        ngettext("Review stopped. %(num)s decision made.", "Review stopped. %(num)s decisions made.", count),
        "success",
    )
    return redirect(url_for("console.work.index"))


@pages.post("/<reference>")
@access.require("work_leads")
def decide(reference: str) -> ResponseReturnValue:
    """Accept, ask or decline, then go to the next referral."""
    lead = leads.by_reference(reference)
    to, _, reason = request.form.get("decision", "").partition(":")
    try:
        act = service.decide(
            lead=lead, user_id=current_user.id, version=submitted_version(), to=to, reason=reason or None,
            message=request.form.get("message", ""),
        )  # fmt: skip
    except Invalid as error:
        _show_errors(error)
    ROUND.add_one()
    said = gettext("%(reference)s: %(stage)s.", reference=lead.reference, stage=rules.label(to))
    flash_undo(said, lead=lead, act=act, back=url_for(".index"))
    return _next()


def _show_errors(error: Invalid) -> None:
    claim = claims.claim_of(current_user.id, work=Work.REVIEW)
    if claim is None:
        raise Conflict(service.TAKEN)
    wrong: dict[str, Sequence[str]] = dict(error.fields)
    if "text" in wrong:
        wrong["message"] = [texts.stored_problem(wrong.pop("text")[0])]
    abort(make_response(_render_referral(claim, wrong), 422))
