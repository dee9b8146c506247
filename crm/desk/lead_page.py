"""The page of one lead, and what every form on it needs: its version, the way back, the reader's permissions."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from flask import Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import current_user

from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.consent import queries as consent
from crm.consent.rules import REASON_LABELS
from crm.contacts import queries as people
from crm.core import clock, current
from crm.core.errors import Invalid
from crm.core.flashes import flash_with_undo
from crm.desk import lead_detail, timeline_labels
from crm.desk import search as listing
from crm.desk.list_filters import KINDS, SOURCES, address, options
from crm.desk.record_access import service as record_access
from crm.intake.texts import HEARD_FROM
from crm.leads import queries, rules, service
from crm.leads.documents import service as documents
from crm.leads.models import Lead
from crm.staff import access, redirects
from crm.staff import service as staff

SERVICES = {"consult": "Consultation only", "treat": "Evaluation and treatment"}
STOPS = {
    "clinician": "Clinician decision",
    "adverse_event": "Adverse event in treatment",
    "in_crisis": "In crisis",
    "pregnant": "Pregnant",
    "treated_elsewhere": "Treated elsewhere",
    "deceased": "Deceased",
    "other": "Other reason",
}


def has_permission(permission: str) -> bool:
    """Return whether the signed-in user has a permission."""
    return access.has_permission((role.name for role in current_user.roles), permission)


def render_lead(lead: Lead, status: int = 200, **more: Any) -> Response:
    """Render the page of one lead and record that it was viewed."""
    audit.record("lead.view", object_type="lead", object_id=lead.id, purpose="care")
    clinical = has_permission("read_clinical") or record_access.is_open(
        user_id=current_user.id, contact_id=lead.contact_id
    )
    others = listing.other_leads(lead)
    page = render_template(
        "console/desk/lead.html",
        lead=lead,
        person=lead.contact,
        clinical=clinical_details(lead) if clinical else None,
        documents=documents.documents_of(lead) if clinical else None,
        attribution=lead_detail.attribution(lead, others),
        emails=emails_to(lead.contact_id),
        stage_options=options(_next_stages(lead)),
        outcomes_sent=list(rules.OUTCOMES_SENT.items()) if lead.stage in rules.HAS_OUTCOME else [],
        sent_by=list(rules.SENT_BY.items()),
        outcome_words=rules.OUTCOMES_SENT,
        sent_by_words=rules.SENT_BY,
        in_crisis=queries.people_in_crisis(),
        crisis_is_open=queries.open_crises().get(lead.id) is False,
        reopens_to=service.former_stage(lead) if lead.stage in rules.DEAD_ENDS else None,
        reason_options=options(_reasons(lead)),
        owner_options=[(user.id, user.name) for user in staff.lead_workers()],
        stops=list(STOPS.items()),
        their_now=clock.now().astimezone(ZoneInfo(lead.contact.time_zone)),
        tasks=listing.tasks_of(lead),
        others=others,
        kinds=KINDS,
        sources=SOURCES,
        code_label=rules.label,
        heard_from=HEARD_FROM["en"],
        services=SERVICES,
        now=clock.now(),
        **_timeline(lead, clinical=clinical),
        **lead_detail.work_sections(lead),
        **(lead_detail.differences(lead.contact) if has_permission("manage_contacts") else {}),
        **more,
    )
    return make_response(page, status)


def _timeline(lead: Lead, *, clinical: bool) -> dict[str, Any]:
    """Return the part of the timeline that the address asks for, and the address of what is older."""
    show = request.args.get("show", "")
    if show not in lead_detail.TIMELINE_VIEWS:
        raise Invalid({"show": ["Timeline view not found."]})
    only = lead_detail.TIMELINE_VIEWS[show][1]
    lines = people.timeline(contact_id=lead.contact_id, cursor=request.args.get("cursor"), only=only)
    older = None
    if lines.next:
        older = (
            address("console.leads.show", reference=lead.reference, show=show, cursor=lines.next)
            + "#timeline"
        )
    return {
        "entries": timeline_entries(lines.rows, clinical=clinical),
        "older": older,
        "show": show,
        "shows": {name: label for name, (label, _) in lead_detail.TIMELINE_VIEWS.items()},
    }


def timeline_entries(
    lines: Sequence[people.TimelineEntry], *, clinical: bool
) -> list[timeline_labels.EntryLabel]:
    """Describe timeline lines for staff."""
    names = staff.names_of({line.actor for line in lines if line.actor})
    return lead_detail.label_entries(lines, names=names, clinical=clinical)


def clinical_details(lead: Lead) -> dict[str, Any]:
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
                (rules.label(f"{name} {inner}").capitalize(), str(given))
                for inner, given in text.items()
                if given
            ]
        elif text not in (None, ""):
            shown.append((rules.label(name).capitalize(), str(text)))
    return shown


def _next_stages(lead: Lead) -> Collection[str]:
    return (
        {service.former_stage(lead)} if lead.stage == rules.SPAM else rules.STAGES[lead.kind][lead.stage].to
    )


def _reasons(lead: Lead) -> set[str]:
    stages = rules.STAGES[lead.kind]
    return {reason for to in stages[lead.stage].to for reason in stages[to].reasons}


def emails_to(contact_id: int) -> list[dict[str, Any]]:
    """Return what holds for each kind of email: whether it may be sent now, and why not."""
    states = {state.topic: state for state in consent.states(contact_id)}
    refusals = consent.refusals(contact_id=contact_id, topics=sorted(states), now=clock.now())
    return [
        {
            "topic": timeline_labels.TOPICS.get(topic, topic).capitalize(),
            "granted": states[topic].granted,
            "at": states[topic].at,
            "refusal": REASON_LABELS[reason] if reason else None,
        }
        for topic, reason in refusals.items()
    ]


def submitted_version() -> int:
    """Return the version of the lead that the form was made from; 0 matches none."""
    text = request.form.get("version", "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def clinic_time(field: str) -> datetime:
    """Return a clinic time from the form, in UTC. Raises Invalid."""
    try:
        there = datetime.fromisoformat(request.form.get(field, "").strip())
    except ValueError as error:
        raise Invalid({field: ["Enter a day and a time."]}) from error
    if there.tzinfo is not None:
        raise Invalid({field: ["Enter a day and a time in clinic time, without a time zone."]})
    return there.replace(tzinfo=current.calendar().zone).astimezone(UTC)


def whole_number(field: str) -> int | None:
    """Return a whole number from the form; None for an empty field. Raises Invalid."""
    text = request.form.get(field, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid({field: ["Enter a whole number."]})
    return int(text)


def flash_undo(text: str, *, lead: Lead, act: StaffAct, back: str | None = None) -> None:
    """Say what was done, with a button that undoes it."""
    back = back or redirects.safe_next_url()
    undo = url_for("console.work.undo", reference=lead.reference, act_id=act.id, back=back)
    flash_with_undo(text, undo=undo)


def redirect_back(lead: Lead) -> ResponseReturnValue:
    """Redirect to the page the form came from, or to the lead."""
    return redirect(redirects.safe_next_url() or url_for("console.leads.show", reference=lead.reference))
