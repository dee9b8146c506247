"""The Broadcasts pages of the console: draft, audience, launch, progress, and people who were missed."""

import re
from datetime import datetime
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
from crm.campaigns import queries, rules, service
from crm.campaigns.models import Campaign
from crm.core import clock, current
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.messages import reason_labels
from crm.messages.limits import pacing, switches
from crm.messages.rules import FREQUENCY_CAP
from crm.segments import queries as saved_segments
from crm.staff import access

pages = ConsolePages(
    "campaigns",
    __name__,
    url_prefix="/campaigns",
    entries=[ConsoleEntry(label="Broadcasts", permission="run_campaigns", order=50, section="Outreach")],
)


@pages.get("")
@access.require("run_campaigns")
def index() -> ResponseReturnValue:
    """Show all broadcasts, newest first, and a form for a new one."""
    return _index()


def _index(status: int = 200, **more: Any) -> Response:
    found = queries.every(cursor=request.args.get("cursor"))
    page = render_template(
        "console/campaigns/index.html",
        campaigns=found.rows,
        choices=queries.items(),
        segments=[(one.id, one.segment.name) for one in saved_segments.newest()],
        older=url_for(".index", cursor=found.next) if found.next else None,
        **more,
    )
    return make_response(page, status)


@pages.post("")
@access.require("run_campaigns")
def create() -> ResponseReturnValue:
    """Draft a broadcast."""
    try:
        campaign_id = service.create(
            name=request.form.get("name", ""),
            item=request.form.get("item", ""),
            tags=_tags("tags"),
            exclude_tags=_tags("exclude_tags"),
            segments=_numbers("segments"),
            exclude_segments=_numbers("exclude_segments"),
            repeat_allowed="repeat_allowed" in request.form,
        )
    except Invalid as error:
        abort(_index(422, errors=error.fields, typed=request.form))
    return redirect(url_for(".show", campaign_id=campaign_id))


def _tags(name: str) -> list[str]:
    return [tag for part in request.form.get(name, "").split(",") if (tag := part.strip())]


def _numbers(name: str) -> list[int]:
    return [
        int(one) for one in request.form.getlist(name) if one.isascii() and one.isdigit() and len(one) < 18
    ]


@pages.get("/<int:campaign_id>")
@access.require("run_campaigns")
def show(campaign_id: int) -> ResponseReturnValue:
    """Show one broadcast: before the launch its audience, afterwards its progress."""
    return _show(queries.get(campaign_id))


def _show(campaign: Campaign, status: int = 200, **more: Any) -> Response:
    draft = campaign.state is rules.CampaignState.DRAFT
    counted = queries.recent_preflight(campaign, again="again" in request.args) if draft else None
    preflight = counted.preflight if counted is not None else None
    page = render_template(
        "console/campaigns/show.html",
        campaign=campaign,
        item=queries.item(campaign),
        subject=queries.subject(campaign),
        segments=queries.segment_names(campaign),
        preflight=preflight,
        counted_at=counted.at if counted is not None else None,
        refusal=service.launch_refusal(campaign) if draft else None,
        caps=pacing.caps(switches.get(), now=clock.now()),
        per_person=FREQUENCY_CAP,
        too_slow=preflight is not None and _too_slow(campaign, preflight.people),
        progress=queries.progress(campaign),
        reasons=reason_labels.REASONS,
        ask_above=rules.ASK_ABOVE,
        **more,
    )
    return make_response(page, status)


def _too_slow(campaign: Campaign, people: int) -> bool:
    """Tell whether our caps hold some emails back until they expire."""
    caps = pacing.caps(switches.get(), now=clock.now())
    hours = rules.hours_needed(people, per_minute=caps.per_minute, per_day=caps.per_day)
    return hours > campaign.late_after_hours


@pages.post("/<int:campaign_id>/launch")
@access.require("run_campaigns")
def launch(campaign_id: int) -> ResponseReturnValue:
    """Launch now or at a local time of the clinic; above 1,000 people only with the number typed."""
    typed = re.sub(r"\D", "", request.form.get("typed_count", ""))
    try:
        service.confirm_size(campaign_id, people=int(typed[:12]) if typed else None)
        service.launch(campaign_id, at=_moment(request.form.get("at", "")))
    except Invalid as error:
        abort(_show(queries.get(campaign_id), 422, errors=error.fields))
    flash("Launched. Anyone who opts out before their send will be skipped.", "success")
    return redirect(url_for(".show", campaign_id=campaign_id))


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        local = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid({"at": ["Enter a date and time."]}) from error
    at = local.replace(tzinfo=current.settings().clinic.zone)
    if at <= clock.now():
        raise Invalid({"at": ["This time has passed."]})
    return at


@pages.post("/<int:campaign_id>/<any(pause, resume, cancel):verb>")
@access.require("run_campaigns")
def move(campaign_id: int, verb: str) -> ResponseReturnValue:
    """Pause, resume or cancel."""
    {"pause": service.pause, "resume": service.resume, "cancel": service.cancel}[verb](campaign_id)
    done = {"pause": "Paused.", "resume": "Resumed.", "cancel": "Cancelled. Sent emails cannot be recalled."}[
        verb
    ]
    flash(done, "success")
    return redirect(url_for(".show", campaign_id=campaign_id))


@pages.post("/<int:campaign_id>/resend")
@access.require("run_campaigns")
def resend(campaign_id: int) -> ResponseReturnValue:
    """Draft a broadcast to the people who were missed."""
    return redirect(url_for(".show", campaign_id=service.resend(campaign_id)))


@pages.get("/<int:campaign_id>/not-sent")
@access.require("run_campaigns")
def not_sent(campaign_id: int) -> ResponseReturnValue:
    """Show the people who were missed, and why."""
    campaign = queries.get(campaign_id)
    found = queries.not_sent(campaign_id, cursor=request.args.get("cursor"))
    ids = [row.contact_id for row in found.rows]
    audit.record(
        "campaign.not_sent", object_type="campaign", object_id=campaign_id, detail={"contact_ids": ids}
    )
    return render_template(
        "console/campaigns/not_sent.html",
        campaign=campaign,
        rows=found.rows,
        names=queries.names_of(ids),
        reasons=reason_labels.REASONS,
        older=url_for(".not_sent", campaign_id=campaign_id, cursor=found.next) if found.next else None,
    )
