"""Lead stages as tables: moves, reasons, deadlines, and the codes of other systems."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from crm.core.business_hours import Calendar
from crm.core.text import clean


class LeadKind(StrEnum):
    """Where a lead comes from: a person or a referring clinician."""

    CONTACT_REQUEST = "contact_request"
    REFERRAL = "referral"


CONTACT_REQUEST, REFERRAL = LeadKind.CONTACT_REQUEST, LeadKind.REFERRAL
KINDS = tuple(LeadKind)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: the moves out of it and the requirements to enter it.

    `to`: allowed next stages. `reasons`: codes, one of which is required to enter; empty if none. `ends`: the lead is
    closed. `within`: opening time, or whole open days, until staff must act; None for no deadline. `needs_outcome`:
    requires that the outcome was recorded as sent to the referrer.
    """

    to: frozenset[str]
    reasons: frozenset[str] = frozenset()
    ends: bool = False
    within: timedelta | None = None
    needs_outcome: bool = False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SPAM = "spam"

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

_NOT_A_FIT = _words("not_eligible safety outside_area insurance capacity age other")
_LOST = _words("no_answer wrong_number not_interested cost chose_other travel feels_better other")

CONTACT_REQUEST_STAGES: Mapping[str, Stage] = {
    "new": Stage(to=_words("unconfirmed confirmed contacted not_a_fit lost spam"), within=HOUR),
    "unconfirmed": Stage(to=_words("confirmed contacted not_a_fit lost spam"), within=HOUR),
    "confirmed": Stage(to=_words("contacted not_a_fit lost spam"), within=HOUR),
    "contacted": Stage(to=_words("qualified not_a_fit lost spam"), within=2 * DAY),
    "qualified": Stage(to=_words("consult_scheduled not_a_fit lost"), within=2 * DAY),
    "consult_scheduled": Stage(to=_words("consult_done qualified not_a_fit lost")),
    "consult_done": Stage(to=_words("patient not_a_fit lost"), within=2 * DAY),
    "patient": Stage(to=frozenset(), ends=True),
    "not_a_fit": Stage(to=_words("contacted"), reasons=_NOT_A_FIT, ends=True),
    "lost": Stage(to=_words("contacted"), reasons=_LOST, ends=True),
    "spam": Stage(to=_words("new unconfirmed confirmed contacted"), ends=True),
}

REFERRAL_STAGES: Mapping[str, Stage] = {
    "received": Stage(
        to=_words("in_review info_requested accepted declined duplicate entered_in_error"), within=DAY
    ),
    "in_review": Stage(to=_words("info_requested accepted declined duplicate entered_in_error"), within=DAY),
    "info_requested": Stage(
        to=_words("in_review accepted declined duplicate entered_in_error"),
        reasons=_words("missing_records missing_contact clinical_question insurance other"),
    ),
    "accepted": Stage(to=_words("contacting scheduled declined duplicate entered_in_error"), within=DAY),
    "declined": Stage(
        to=_words("closed in_review"),
        reasons=_words("out_of_scope not_eligible safety insurance capacity outside_area incomplete other"),
        within=DAY,
    ),
    "contacting": Stage(
        to=_words("scheduled unable_to_reach patient_declined duplicate entered_in_error"), within=2 * DAY
    ),
    "unable_to_reach": Stage(
        to=_words("closed contacting"), reasons=_words("no_answer wrong_number other"), within=DAY
    ),
    "patient_declined": Stage(
        to=_words("closed contacting"),
        reasons=_words("not_interested cost chose_other travel feels_better other"),
        within=DAY,
    ),
    "scheduled": Stage(to=_words("seen no_show cancelled rescheduled patient_declined entered_in_error")),
    "no_show": Stage(to=_words("contacting"), within=DAY),
    "cancelled": Stage(to=_words("contacting"), reasons=_words("patient clinic other"), within=DAY),
    "rescheduled": Stage(to=_words("contacting scheduled"), within=DAY),
    "seen": Stage(to=_words("report_sent"), within=5 * DAY),
    "report_sent": Stage(to=_words("closed"), needs_outcome=True, within=DAY),
    "closed": Stage(to=frozenset(), needs_outcome=True, ends=True),
    "duplicate": Stage(to=frozenset(), ends=True),
    "entered_in_error": Stage(to=frozenset(), ends=True),
}

STAGES: Mapping[str, Mapping[str, Stage]] = {
    CONTACT_REQUEST: CONTACT_REQUEST_STAGES,
    REFERRAL: REFERRAL_STAGES,
}

DEAD_ENDS = frozenset(
    stage for stages in STAGES.values() for stage, one in stages.items() if one.ends and not one.to
)
"""Stages without a next one: a lead leaves them only by being reopened, with a reason."""

HUMAN_TOUCH_STAGES = _words("contacted qualified accepted declined info_requested in_review contacting")
"""Stages that staff set by acting on the lead: the first one is the first human touch."""

REOPENED = _words("in_review contacting")
"""Stages that void an outcome sent earlier, such as "declined"."""


HAS_OUTCOME = _words("seen declined unable_to_reach patient_declined report_sent closed")
"""Stages of a referral in which there is an outcome to send to the referrer."""

OUTCOMES_SENT: Mapping[str, str] = {
    "report": "Consultation report",
    "declined": "Referral declined, with the reason",
    "not_reached": "Patient could not be reached",
    "patient_declined": "Patient declined",
}
SENT_BY: Mapping[str, str] = {
    "portal": "Portal message",
    "fax": "Fax",
    "letter": "Letter",
    "phone": "Phone call",
    "other_system": "Electronic health record",
}


@dataclass(frozen=True, kw_only=True)
class ExternalCodes:
    """Codes of a referral stage in other systems.

    `task`: FHIR R4 Task.status (hl7.org/fhir/R4/task.html). `bser`: Task business status of the HL7 implementation
    guide for bidirectional services eReferral, BSeR (hl7.org/fhir/us/bser); None if it has no code.
    """

    task: str
    bser: str | None


REFERRAL_CODES: Mapping[str, ExternalCodes] = {
    "received": ExternalCodes(task="received", bser="2.0"),
    "in_review": ExternalCodes(task="received", bser="2.0"),
    "info_requested": ExternalCodes(task="on-hold", bser=None),
    "accepted": ExternalCodes(task="accepted", bser="3.0"),
    "declined": ExternalCodes(task="rejected", bser="4.0"),
    "contacting": ExternalCodes(task="in-progress", bser="3.0"),
    "unable_to_reach": ExternalCodes(task="failed", bser="6.0"),
    "patient_declined": ExternalCodes(task="cancelled", bser="6.0"),
    "scheduled": ExternalCodes(task="in-progress", bser="5.1.1"),
    "no_show": ExternalCodes(task="in-progress", bser="5.1.2"),
    "cancelled": ExternalCodes(task="in-progress", bser="5.1.3"),
    "rescheduled": ExternalCodes(task="in-progress", bser="5.1.3"),
    "seen": ExternalCodes(task="in-progress", bser="5.1.4"),
    "report_sent": ExternalCodes(task="completed", bser="7.0"),
    "closed": ExternalCodes(task="completed", bser="7.0"),
    "duplicate": ExternalCodes(task="entered-in-error", bser=None),
    "entered_in_error": ExternalCodes(task="entered-in-error", bser=None),
}


def first_stage(kind: LeadKind, *, asked_to_confirm: bool = False) -> str:
    """Return the stage of a new lead."""
    match kind:
        case LeadKind.REFERRAL:
            return "received"
        case LeadKind.CONTACT_REQUEST:
            return "unconfirmed" if asked_to_confirm else "new"
        case _:
            assert_never(kind)


def move_refusal(
    *, kind: str, was: str, to: str, reason: str | None = None, outcome_sent: bool = False
) -> str | None:
    """Return why a move is not allowed, as a message for staff; None if it is."""
    stages = STAGES[kind]
    if to not in stages:
        return "Stage not found."
    if to not in stages[was].to:
        return f"A lead cannot go from “{label(was)}” to “{label(to)}”."
    target = stages[to]
    if target.reasons and reason not in target.reasons:
        return f"“{label(to)}” needs a reason: {', '.join(sorted(map(label, target.reasons)))}."
    if reason and not target.reasons:
        return f"“{label(to)}” takes no reason."
    if target.needs_outcome and not outcome_sent:
        return "First mark the outcome as sent to the referrer."
    return None


def label(code: str) -> str:
    """Return the label of a stage or reason."""
    return code.replace("_", " ")


def due_at(
    *, kind: str, stage: str, since: datetime, calendar: Calendar, urgent: bool = False
) -> datetime | None:
    """Return the deadline of a lead that entered `stage` at `since`; None if it has none."""
    within = STAGES[kind][stage].within
    if within and urgent:
        within = min(within, URGENT_WITHIN)
    return calendar.after(since, within) if within else None


URGENT_WITHIN = 2 * HOUR
"""Opening time in which staff must act on an urgent referral, whatever its stage."""

UNTOUCHED = _words("new unconfirmed confirmed")
"""Stages of a contact request before staff act on it: they share one deadline."""

PAUSED = "info_requested"
LEAST_AFTER_PAUSE = (
    HOUR  # opening time for reading what the referrer has sent, however late the lead was before
)


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """The deadline of a lead and, while it is paused, the opening time left."""

    due_at: datetime | None
    left: timedelta | None = None


def deadline_after(
    *,
    kind: str,
    was: str,
    to: str,
    now: datetime,
    deadline: Deadline,
    calendar: Calendar,
    urgent: bool = False,
) -> Deadline:
    """Return the deadline of a lead that moves from `was` to `to`."""
    if to == PAUSED:
        return Deadline(due_at=None, left=calendar.between(now, deadline.due_at) if deadline.due_at else None)
    if was == PAUSED and to == "in_review" and deadline.left is not None:
        return Deadline(due_at=calendar.add_time(now, max(deadline.left, LEAST_AFTER_PAUSE)))
    if was in UNTOUCHED and to in UNTOUCHED and deadline.due_at is not None:
        return Deadline(due_at=deadline.due_at)
    return Deadline(due_at=due_at(kind=kind, stage=to, since=now, calendar=calendar, urgent=urgent))


ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # of references: nothing that looks or sounds like another: no 0 O 1 I L U

UTM_KEYS = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
TOUCH_KEYS = (*UTM_KEYS, "landing_page", "referring_host", "practice")
TOUCH_LIMIT = 100  # characters of each value


def first_touch(values: Mapping[str, str | None]) -> dict[str, str] | None:
    """Return attribution data: known keys, one short line each; None if empty.

    A landing page is kept without its query, which may hold anything.
    """
    kept = {}
    for key in TOUCH_KEYS:
        value = values.get(key) or ""
        if key == "landing_page":
            value = value.partition("?")[0].partition("#")[0]
        value = "".join(filter(str.isprintable, clean(value, lines=False)))[:TOUCH_LIMIT].strip()
        if value:
            kept[key] = value
    return kept or None


BY_HAND = ("phone", "walk_in", "fax", "event")
"""Sources of leads that staff enter."""

SPOKEN_WITH = frozenset({"phone", "walk_in"})
"""Sources by which staff have spoken with the person: this is the first human touch."""

HEARD_FROM = ("search", "doctor", "friend", "social", "insurance", "event", "other")
SAME_WITHIN = timedelta(hours=24)  # the same request sent again in this time is the same lead
MESSAGE_LIMIT = 1000  # characters
