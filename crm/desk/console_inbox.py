"""Inbox pages: contact requests that are not answered yet, oldest first."""

from datetime import datetime

from flask import abort, flash, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user
from sqlalchemy import ColumnElement

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.core import clock, paging
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid
from crm.core.paging import Page
from crm.desk import replies
from crm.desk.lead_page import flash_undo, has_permission, redirect_back, render_lead, submitted_version
from crm.leads import index_scan, queries, rules, service
from crm.leads.models import Lead
from crm.staff import access

pages = ConsolePages("inbox", __name__, url_prefix="/leads", part_of="leads")

ROWS = 25
TABS = {"open": "To answer", "mine": "Mine", "nobody": "Unassigned"}
CLOSES = {"lost": "Lost", "not_a_fit": "Not a fit"}


def unanswered(tab: str, *, me: int, cursor: str | None = None, limit: int = ROWS) -> Page[Lead]:
    """Return the new requests and referrals that no one has acted on, longest waiting first."""
    after = paging.decode(cursor, (datetime, int)) if cursor else None
    rows = index_scan.scan_open_leads(Lead.created_at, after=after)
    wanted: list[ColumnElement[bool]] = [rows.c.stage.in_(sorted(rules.UNTOUCHED | {"received"}))]
    if tab == "mine":
        wanted.append(rows.c.owner_id == me)
    elif tab == "nobody":
        wanted.append(rows.c.owner_id.is_(None))
    found = index_scan.load_leads(
        index_scan.first_ids(rows, *wanted, limit=limit + 1), Lead.created_at, Lead.id
    )
    last = found[limit - 1] if len(found) > limit else None
    shown = found[:limit] if cursor else queries.crisis_first(found[:limit])
    return Page(rows=shown, next=paging.encode(last.created_at, last.id) if last else None)


@pages.get("/inbox")
@access.require("see_leads")
def index() -> ResponseReturnValue:
    """Show contact requests to answer, with their messages."""
    tab = request.args.get("tab", "open")
    if tab not in TABS:
        raise Invalid({"tab": ["List not found."]})
    shown = unanswered(tab, me=current_user.id, cursor=request.args.get("cursor"))
    clinical = has_permission("read_clinical")
    audit.record(
        "lead.inbox", purpose="care", detail={"ids": [lead.id for lead in shown.rows], "messages": clinical}
    )
    return render_template(
        "console/desk/inbox.html",
        leads=shown.rows,
        in_crisis=queries.people_in_crisis(),
        tab=tab,
        tabs_of=TABS,
        clinical=clinical,
        answers=list(replies.REPLIES.items()),
        closes={stage: _reasons(stage) for stage in CLOSES},
        close_labels=CLOSES,
        here=url_for(".index", tab=tab),
        later=url_for(".index", tab=tab, cursor=shown.next) if shown.next else None,
        now=clock.now(),
    )


def _reasons(stage: str) -> list[tuple[str, str]]:
    # closing as unreachable needs logged attempts, so it is not offered here
    codes = rules.CONTACT_REQUEST_STAGES[stage].reasons - {"no_answer", "wrong_number"}
    return [(f"{stage}:{code}", rules.label(code).capitalize()) for code in sorted(codes)]


@pages.post("/<reference>/answer")
@access.require("work_leads")
def answer(reference: str) -> ResponseReturnValue:
    """Reply to a contact request with an approved email."""
    lead = service.by_reference(reference)
    try:
        replies.send_reply(lead_id=lead.id, kind=request.form.get("answer", ""))
    except Invalid as error:
        abort(render_lead(lead, 422, errors=error.fields))
    flash(gettext("Reply queued."), "success")
    return redirect_back(lead)


@pages.post("/<reference>/take")
@access.require("work_leads")
def assign_to_me(reference: str) -> ResponseReturnValue:
    """Assign a lead to the signed-in user."""
    lead = service.by_reference(reference)
    with acts.begin("assign", lead_id=lead.id) as act:
        service.assign(lead_id=lead.id, version=submitted_version(), owner_id=current_user.id)
    flash_undo(gettext("%(reference)s is assigned to you.", reference=lead.reference), lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/close")
@access.require("work_leads")
def close(reference: str) -> ResponseReturnValue:
    """Close a contact request with a reason, or as spam."""
    lead = service.by_reference(reference)
    to, _, reason = request.form.get("as", "").partition(":")
    if to not in (*CLOSES, "spam"):
        abort(render_lead(lead, 422, errors={"to": ["Choose a reason to close it."]}))
    with acts.begin("move", lead_id=lead.id) as act:
        service.move_stage(lead_id=lead.id, version=submitted_version(), to=to, reason=reason or None)
    text = gettext("%(reference)s marked as spam.", reference=lead.reference) if to == "spam" else None
    flash_undo(text or gettext("%(reference)s closed.", reference=lead.reference), lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/reopen")
@access.require("work_leads")
def reopen(reference: str) -> ResponseReturnValue:
    """Bring back a request that was closed by mistake: from spam to the stage it had, otherwise to `contacted`."""
    lead = service.by_reference(reference)
    version = request.args.get("version", "")
    sent = int(version) if version.isdecimal() and len(version) < 19 else submitted_version()
    with acts.begin("reopen", lead_id=lead.id) as act:
        if lead.stage == rules.SPAM:
            service.restore_from_spam(lead_id=lead.id, version=sent)
        else:
            service.move_stage(lead_id=lead.id, version=sent, to="contacted")
    flash_undo(gettext("%(reference)s reopened.", reference=lead.reference), lead=lead, act=act)
    return redirect_back(lead)


@pages.post("/<reference>/tags")
@access.require("work_leads")
def tag(reference: str) -> ResponseReturnValue:
    """Put a tag on the person, or take one off."""
    lead = service.by_reference(reference)
    try:
        with acts.begin("tag", lead_id=lead.id) as act:
            if request.form.get("off"):
                contacts.remove_tag(contact_id=lead.contact_id, tag=request.form["off"])
            else:
                contacts.add_tag(contact_id=lead.contact_id, tag=request.form.get("tag", ""))
    except Invalid as error:
        abort(render_lead(lead, 422, errors=error.fields, typed=request.form))
    text = gettext("Tag removed.") if request.form.get("off") else gettext("Tag added.")
    flash_undo(text, lead=lead, act=act)
    return redirect_back(lead)
