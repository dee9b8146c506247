"""Lead page data: timeline labels, attribution, score, and the work that can be done."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from crm.consent import queries as consent
from crm.consultations import queries as consultation_queries
from crm.consultations import service as consultations
from crm.consultations.models import Consultation
from crm.contacts import edit_form, editing
from crm.contacts import queries as people
from crm.contacts.models import Contact
from crm.contacts.queries import EntryFilter, TimelineEntry
from crm.core import clock
from crm.core.db import db
from crm.desk import replies, timeline_labels
from crm.duplicates import service as duplicates
from crm.leads import contact_attempts, scoring
from crm.leads.contact_attempts import CHANNELS, OUTCOMES, REACHED
from crm.leads.models import Lead
from crm.leads.tasks import rules as task_rules
from crm.referrers.models import Practice

CONTACTED_STAGES = frozenset(
    {"contacted", "qualified", "consult_scheduled", "consult_done", "patient", "scheduled", "seen"}
)


TIMELINE_VIEWS: Mapping[str, tuple[str, EntryFilter | None]] = {  # tabs of the timeline
    "": ("Everything", None),
    "words": (
        "Notes and calls",
        {
            "activity": (
                "note", "called", "told_otherwise", "practice_told_otherwise", "left_out", "sent_again", "edited",
                "referral_corrected",
            )
        },
    ),
    "steps": (
        "Steps",
        {
            "activity": (
                "lead_opened", "stage_moved", "assigned", "clock_ran_out", "outcome_sent", "consultation", "merged",
                "merge_undone", "possible_duplicate", "imported", "reopened", "act_undone",
                "document_added", "document_attached", "document_removed",
            )
        },
    ),
    "mail": ("Emails and consent", {
        "mail": None, "entered": None, "left": None, "consent": None, "activity": ("stopped", "stop_lifted"),
    }),
    "tasks": ("Tasks and tags", {"activity": ("task_opened", "task_changed", "task_done", "task_dropped", "tagged", "untagged")}),
}  # fmt: skip


def label_entries(
    lines: Sequence[TimelineEntry], *, names: Mapping[str, str], clinical: bool
) -> list[timeline_labels.EntryLabel]:
    """Label timeline entries; hide the reason of a clinical stop from staff without clinical access."""
    entries = []
    for line in lines:
        entry = timeline_labels.label_entry(line, names=names, clinical=clinical)
        hidden = line.kind == "stopped" and not clinical
        entries.append(replace(entry, why=None) if hidden else entry)
    return entries


TOUCH_WORDS = {
    "utm_source": "Source",
    "utm_medium": "Medium",
    "utm_campaign": "Campaign",
    "utm_term": "Search term",
    "utm_content": "Version",
    "landing_page": "Landing page",
    "referring_host": "Referring site",
    "practice": "Practice",
}


def attribution(lead: Lead, others: Sequence[Lead]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return where a person came from, first and last, with labels, as far as their leads recorded it."""
    known = [one for one in sorted((lead, *others), key=lambda one: one.id) if one.first_touch]
    if not known:
        return []
    first, last = known[0], known[-1]
    if first is last:
        return [("Attribution", _touch(first))]
    return [("First attribution", _touch(first)), ("Last attribution", _touch(last))]


def _touch(lead: Lead) -> list[tuple[str, str]]:
    return [
        (TOUCH_WORDS.get(key, key), _practice_name(value) if key == "practice" else value)
        for key, value in (lead.first_touch or {}).items()
    ]


def _practice_name(number: str) -> str:
    found = db.session.get(Practice, int(number)) if re.fullmatch("[0-9]{1,18}", number) else None
    return found.name if found is not None else number


def _known(lead: Lead, held: Sequence[Consultation]) -> scoring.LeadFacts:
    states = {one.state for one in held}
    reached = any(one.outcome in REACHED for one in contact_attempts.attempts_of(lead.id))
    return scoring.LeadFacts(
        kind=lead.kind,
        urgency=lead.referral.urgency if lead.referral else None,
        created_at=lead.created_at,
        has_phone=lead.contact.phone is not None,
        has_email=lead.contact.email is not None,
        has_message=bool(lead.message),
        heard_from=lead.heard_from,
        has_consent=any(state.granted for state in consent.states(lead.contact_id)),
        reached=reached or lead.stage in CONTACTED_STAGES,
        attempts=lead.attempts,
        booked="booked" in states,
        missed="no_show" in states,
    )


def differences(contact: Contact) -> dict[str, Any]:
    """Return what was written otherwise than the record has it, and what that holds, for staff who may edit people."""
    found = editing.differences(contact)
    return {
        "differences": found,
        "difference_held": editing.values_of(contact) if found else {},
        "labels": edit_form.LABELS,
    }


def work_sections(lead: Lead) -> dict[str, Any]:
    """Return the template values for working a lead: calls, tasks, consultations, duplicates, score."""
    held = consultations.consultations_of(lead.id)
    return {
        "no_email": consultations.email_refusal(lead),
        "tags": people.tags_of(lead.contact_id),
        "answers": list(replies.REPLIES.items()) if replies.refusal(lead) is None else [],
        "same": duplicates.candidates(lead.contact),
        "merges": duplicates.merges_into(lead.contact_id),
        "score": scoring.score(_known(lead, held), now=clock.now()),
        "channels": list(CHANNELS.items()),
        "outcomes": list(OUTCOMES.items()),
        "consultations": held,
        "lengths": [(minutes, f"{minutes} min") for minutes in consultations.LENGTHS],
        "booked": next((one for one in held if one.state == "booked"), None),
        "priorities": list(task_rules.PRIORITIES.items()),
        "repeats": list(task_rules.REPEATS.items()),
        "clinicians": [(user.id, user.name) for user in consultations.clinicians()],
        "rooms": [(room.id, room.name) for room in consultation_queries.rooms()],
        "bookable": consultations.is_bookable(lead) and not any(one.state == "booked" for one in held),
    }
