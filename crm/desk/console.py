"""Leads for staff: the list, one lead with its timeline, and the work on it."""

from collections.abc import Collection, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from flask import (
    Blueprint,
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
from flask_security import current_user

from crm.audit import service as audit
from crm.consent import queries as consent
from crm.consent.rules import WORDS as REFUSALS
from crm.contacts import queries as people
from crm.contacts import service as contacts
from crm.core import clock, limits
from crm.core.errors import Invalid
from crm.core.limits import Limit
from crm.desk import bulk, bulk_actions, lead_detail, saved_filters, timeline_labels
from crm.desk import search as listing
from crm.desk.search import Wanted
from crm.leads import rules, service
from crm.leads.models import Lead
from crm.staff import access, alerts, redirects
from crm.staff import service as staff

pages = Blueprint("leads", __name__, url_prefix="/leads")

LABELS = {
    "q": "Search",
    "kind": "Kind",
    "stage": "Stage",
    "owner": "Owner",
    "state": "State",
    "source": "Came by",
}
KINDS = {"contact_request": "Contact request", "referral": "Referral"}
STATES = {"open": "Open", "overdue": "Overdue", "ended": "Ended"}
SOURCES = {"form": "Contact form", "api": "Other system", "portal": "Referrer portal", "import": "Import"}
STOPS = {
    "clinician": "A clinician decided so",
    "adverse_event": "Something went wrong in treatment",
    "in_crisis": "The person is in a crisis",
    "pregnant": "The person is pregnant",
    "treated_elsewhere": "The person is treated elsewhere",
    "deceased": "The person has died",
    "other": "Another reason",
}
ON_PAPER = 1_000  # lines of a timeline
MANY_VIEWS = 200  # records opened by one person in five minutes before an administrator is told


def _may(permission: str) -> bool:
    return access.has_permission((role.name for role in current_user.roles), permission)


def _address(endpoint: str, **arguments: Any) -> str:
    return url_for(endpoint, **{name: value for name, value in arguments.items() if value not in (None, "")})


@pages.get("")
@access.require("see_leads")
def index() -> ResponseReturnValue:
    """The list, newest first."""
    asked = {name: request.args.get(name, "").strip() for name in LABELS}
    shown = listing.page(_wanted(asked), older=request.args.get("older"), newer=request.args.get("newer"))
    audit.record("lead.list", detail={"ids": [lead.id for lead in shown.rows], "filters": _codes(asked)})
    owners = staff.at_work()
    return render_template(
        "console/desk/leads.html",
        leads=shown.rows,
        asked=asked,
        tags=_tags(asked, {str(user.id): user.name for user in owners}),
        kinds=KINDS,
        states=STATES,
        sources=SOURCES,
        stage_options=_options({stage for stages in rules.STAGES.values() for stage in stages}),
        owner_options=[("me", "Me"), ("nobody", "Nobody"), *((user.id, user.name) for user in owners)],
        saved=saved_filters.of(current_user.id),
        chosen={name: asked[name] for name in saved_filters.KEPT if asked[name]},
        staff_options=[(user.id, user.name) for user in owners],
        move_options=_options(bulk_actions.MOVES),
        reason_options=_options({one for stage in bulk_actions.MOVES.values() for one in stage.reasons}),
        here=request.full_path.rstrip("?"),
        most=bulk.MOST,
        older=_address(".index", **asked, older=shown.older) if shown.older else None,
        newer=_address(".index", **asked, newer=shown.newer) if shown.newer else None,
        looked_at=shown.looked_at,
        now=clock.now(),
    )


def _wanted(asked: dict[str, str]) -> Wanted:
    owner = {"me": current_user.id, "nobody": 0}.get(asked["owner"])
    if owner is None and asked["owner"].isdecimal() and len(asked["owner"]) < 19:
        owner = int(asked["owner"])
    return Wanted(
        q=asked["q"],
        kind=asked["kind"],
        stage=asked["stage"],
        owner=owner,
        state=asked["state"],
        source=asked["source"],
    )


def _codes(asked: dict[str, str]) -> dict[str, str]:
    """The filters without the words that were searched for, which may be a name."""
    return {name: value if name != "q" else "*" for name, value in asked.items() if value}


def _tags(asked: dict[str, str], owners: dict[str, str]) -> list[dict[str, str]]:
    words = {
        "kind": KINDS,
        "state": STATES,
        "source": SOURCES,
        "owner": {"me": "me", "nobody": "nobody", **owners},
    }
    return [
        {
            "label": LABELS[name],
            "value": words.get(name, {}).get(value, rules.spoken(value) if name == "stage" else value),
            "href": _address(".index", **(asked | {name: ""})),
        }
        for name, value in asked.items()
        if value
    ]


@pages.get("/search")
@access.require("see_leads")
def search() -> ResponseReturnValue:
    """Search everywhere: a name's beginning, an email address, a phone number, a reference."""
    q = request.args.get("q", "").strip()
    shown = listing.page(Wanted(q=q)) if q else None
    leads = list(shown.rows) if shown else []
    audit.record("lead.search", detail={"ids": [lead.id for lead in leads]})
    if len(leads) == 1:
        return redirect(url_for(".show", reference=leads[0].reference))
    more = _address(".index", q=q) if shown and shown.older else None
    return render_template("console/desk/search.html", q=q, leads=leads, more=more, now=clock.now())


@pages.get("/<reference>")
@access.require("see_leads")
def show(reference: str) -> ResponseReturnValue:
    """One lead: what is the state, what can be done next, what has happened."""
    return _show(service.by_reference(reference))


def _show(lead: Lead, status: int = 200, **more: Any) -> Response:
    audit.record("lead.view", object_type="lead", object_id=lead.id, purpose="care")
    _watch_volume()
    clinical = _may("read_clinical")
    show = request.args.get("show", "")
    if show not in lead_detail.SHOWS:
        raise Invalid({"show": ["There is no such part of a timeline."]})
    only = lead_detail.SHOWS[show][1]
    lines = people.timeline(contact_id=lead.contact_id, cursor=request.args.get("cursor"), only=only)
    others = listing.others_of(lead)
    older = _address(".show", reference=lead.reference, show=show, cursor=lines.next) if lines.next else None
    page = render_template(
        "console/desk/lead.html",
        lead=lead,
        person=lead.contact,
        clinical=_clinical(lead) if clinical else None,
        entries=_told(lines.rows, clinical=clinical),
        older=older + "#timeline" if older else None,
        show=show,
        shows={name: label for name, (label, _) in lead_detail.SHOWS.items()},
        touches=lead_detail.touches(lead, others),
        emails=_emails(lead.contact_id),
        stage_options=_options(rules.STAGES[lead.kind][lead.stage].to),
        reason_options=_options(_reasons(lead)),
        owner_options=[(user.id, user.name) for user in staff.at_work()],
        stops=list(STOPS.items()),
        their_now=clock.now().astimezone(ZoneInfo(lead.contact.time_zone)),
        tasks=listing.tasks_of(lead),
        others=others,
        kinds=KINDS,
        sources=SOURCES,
        spoken=rules.spoken,
        now=clock.now(),
        **lead_detail.parts(lead),
        **more,
    )
    return make_response(page, status)


def _told(lines: Sequence[people.TimelineEntry], *, clinical: bool) -> list[timeline_labels.Entry]:
    names = staff.names_of({line.actor for line in lines if line.actor})
    return lead_detail.told(lines, names=names, clinical=clinical)


@pages.get("/<reference>/print")
@access.require("see_leads")
def on_paper(reference: str) -> ResponseReturnValue:
    """One lead and its whole timeline, for paper."""
    lead = service.by_reference(reference)
    audit.record("lead.print", object_type="lead", object_id=lead.id, purpose="care")
    _watch_volume()
    clinical = _may("read_clinical")
    lines = people.timeline(contact_id=lead.contact_id, limit=ON_PAPER)
    return render_template(
        "console/desk/lead_print.html",
        lead=lead,
        person=lead.contact,
        clinical=_clinical(lead) if clinical else None,
        entries=_told(lines.rows, clinical=clinical),
        whole=lines.next is None,
        kinds=KINDS,
        spoken=rules.spoken,
        now=clock.now(),
    )


def _clinical(lead: Lead) -> dict[str, Any]:
    """What only people who care for the patient may read."""
    found: dict[str, Any] = {"message": lead.message, "birth_date": lead.contact.birth_date}
    if lead.referral is not None:
        found["health"] = _flat(orjson.loads(lead.referral.health or "{}"))
        found["guardian"] = _flat(orjson.loads(lead.referral.guardian or "{}"))
    return found


def _flat(values: dict[str, Any]) -> list[tuple[str, str]]:
    shown = []
    for name, value in values.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(text, dict):
            shown += [
                (rules.spoken(f"{name} {inner}").capitalize(), str(given))
                for inner, given in text.items()
                if given
            ]
        elif text not in (None, ""):
            shown.append((rules.spoken(name).capitalize(), str(text)))
    return shown


def _reasons(lead: Lead) -> set[str]:
    stages = rules.STAGES[lead.kind]
    return {reason for to in stages[lead.stage].to for reason in stages[to].reasons}


def _options(codes: Collection[str]) -> list[tuple[str, str]]:
    return [(code, rules.spoken(code).capitalize()) for code in sorted(codes)]


def _emails(contact_id: int) -> list[dict[str, Any]]:
    """What holds for each kind of email: may we write now, and why not."""
    states = {state.topic: state for state in consent.states(contact_id)}
    refusals = consent.refusals(contact_id=contact_id, topics=sorted(states), now=clock.now())
    return [
        {
            "topic": timeline_labels.TOPICS.get(topic, topic).capitalize(),
            "granted": states[topic].granted,
            "at": states[topic].at,
            "refusal": REFUSALS[reason] if reason else None,
        }
        for topic, reason in refusals.items()
    ]


def _watch_volume() -> None:
    """Tell administrators when somebody opens far more records than work asks for."""
    who = audit.current().actor
    if limits.hit([Limit(name="views", who=who, most=MANY_VIEWS, seconds=300)]) is not None:
        alerts.raise_alert(
            key=f"views:{who}",
            level="danger",
            text=f"{current_user.name} opened more than {MANY_VIEWS} records in five minutes.",
            link=url_for("console.audit.index", actor=who),
        )


def _version() -> int:
    text = request.form.get("version", "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _back(lead: Lead) -> ResponseReturnValue:
    return redirect(redirects.safe_next_url() or url_for(".show", reference=lead.reference))


@pages.post("/<reference>/stage")
@access.require("work_leads")
def move(reference: str) -> ResponseReturnValue:
    """Move to another stage, with a reason where the stage asks for one."""
    lead = service.by_reference(reference)
    to, reason = request.form.get("to", ""), request.form.get("reason") or None
    if to not in rules.STAGES[lead.kind]:
        abort(_show(lead, 422, errors={"to": ["Choose the stage to move to."]}))
    service.move_stage(lead_id=lead.id, version=_version(), to=to, reason=reason)
    flash(f"Moved to “{rules.spoken(to)}”.", "success")
    return _back(lead)


@pages.post("/<reference>/owner")
@access.require("work_leads")
def assign(reference: str) -> ResponseReturnValue:
    """Give the lead to somebody, or to nobody."""
    lead = service.by_reference(reference)
    chosen = request.form.get("owner", "")
    known = chosen.isdecimal() and len(chosen) < 19
    service.assign(lead_id=lead.id, version=_version(), owner_id=int(chosen) if known else None)
    flash("Owner saved.", "success")
    return _back(lead)


@pages.post("/<reference>/notes")
@access.require("work_leads")
def note(reference: str) -> ResponseReturnValue:
    """Add a note."""
    lead = service.by_reference(reference)
    try:
        service.add_note(lead_id=lead.id, text=request.form.get("text", ""))
    except Invalid as error:
        abort(_show(lead, 422, errors=error.fields, typed=request.form))
    flash("Note added.", "success")
    return _back(lead)


@pages.post("/<reference>/outcome")
@access.require("work_leads")
def outcome(reference: str) -> ResponseReturnValue:
    """Record that the outcome went back to the referrer."""
    lead = service.by_reference(reference)
    service.record_outcome_sent(lead_id=lead.id)
    flash("Noted that the outcome was sent.", "success")
    return _back(lead)


@pages.post("/<reference>/tasks/<int:task_id>/done")
@access.require("work_leads")
def task_done(reference: str, task_id: int) -> ResponseReturnValue:
    """Tick a task off."""
    lead = service.by_reference(reference)
    service.finish_task(task_id=task_id)
    flash("Done.", "success")
    return _back(lead)


@pages.post("/<reference>/stop")
@access.require("clinical_stop")
def stop(reference: str) -> ResponseReturnValue:
    """Send this person nothing more, for a clinical reason."""
    lead = service.by_reference(reference)
    reason = request.form.get("reason", "")
    if reason not in STOPS:
        abort(_show(lead, 422, errors={"stop": ["Choose why nothing may be sent."]}))
    contacts.set_clinical_stop(contact_id=lead.contact_id, reason=reason)
    flash("Nothing is sent to this person any more.", "success")
    return _back(lead)


@pages.post("/<reference>/lift-stop")
@access.require("lift_stop")
def lift_stop(reference: str) -> ResponseReturnValue:
    """Allow sending again."""
    lead = service.by_reference(reference)
    contacts.lift_clinical_stop(contact_id=lead.contact_id)
    flash("The clinical stop is lifted.", "success")
    return _back(lead)
