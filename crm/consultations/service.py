"""Consultations: book, reschedule, cancel, record the result. Each one also moves the lead."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import assert_never

from sqlalchemy import select

from crm.audit import service as audit
from crm.consent import queries as consent
from crm.consent.rules import REASON_LABELS
from crm.consultations.models import Consultation
from crm.consultations.rules import ConsultationState
from crm.contacts import service as contacts
from crm.core import clock, current, events
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.leads import service
from crm.leads.events import ConsultationChanged
from crm.leads.models import Lead
from crm.leads.rules import CONTACT_REQUEST, REFERRAL
from crm.leads.stage_work import STAGE_WORK, Visit, close_tasks

LENGTHS = (15, 30, 45, 60, 90, 120)  # minutes
MAX_AHEAD = timedelta(days=366)
SHOWN = 100  # of one day

# The stage that a lead moves to: by kind, and by the result of the consultation.
STAGE_WHEN_BOOKED = {CONTACT_REQUEST: "consult_scheduled", REFERRAL: "scheduled"}
STAGE_AFTER: Mapping[str, Mapping[str, tuple[str, str | None]]] = {
    ConsultationState.ATTENDED: {CONTACT_REQUEST: ("consult_done", None), REFERRAL: ("seen", None)},
    ConsultationState.NO_SHOW: {CONTACT_REQUEST: ("qualified", None), REFERRAL: ("no_show", None)},
    ConsultationState.CANCELLED: {CONTACT_REQUEST: ("qualified", None), REFERRAL: ("cancelled", "other")},
}


def book(
    *, lead_id: int, version: int, starts_at: datetime, minutes: int = 60, confirmed: bool = False
) -> Consultation:
    """Book a consultation and move the lead; a person who agreed to be emailed gets a confirmation.

    `confirmed`: staff mean a time outside opening hours, or at the minute of another consultation.

    Raises Invalid for a time that is past, too far ahead or on a closed day, and Conflict if one is already booked or
    the stage does not allow it.
    """
    lead = service.get(lead_id)
    _check(starts_at=starts_at, minutes=minutes, confirmed=confirmed)
    if booked_consultation(lead_id) is not None:
        raise Conflict("A consultation is already booked. Reschedule it.")
    if lead.stage == "contacted":  # a booked consultation implies qualified
        service.move_stage(lead_id=lead_id, version=version, to="qualified")
        version = lead.version
    service.move_stage(lead_id=lead_id, version=version, to=STAGE_WHEN_BOOKED[lead.kind])
    made = _store(lead, starts_at=starts_at, minutes=minutes)
    _record(made, "booked")
    return made


def rebook(
    *, consultation_id: int, starts_at: datetime, minutes: int | None = None, confirmed: bool = False
) -> Consultation:
    """Reschedule a booked consultation; the lead keeps its stage."""
    old = _get_booked(consultation_id)
    minutes = minutes or old.minutes
    if starts_at == old.starts_at and minutes == old.minutes:
        raise Conflict("It is already booked for this time.")
    _check(starts_at=starts_at, minutes=minutes, confirmed=confirmed)
    _end(old, ConsultationState.RESCHEDULED)
    made = _store(old.lead, starts_at=starts_at, minutes=minutes, moved=old)
    close_tasks(old.lead_id, kinds=("result",))
    _record(made, "moved")
    return made


def finish(*, consultation_id: int, state: str, version: int) -> Consultation:
    """Record a result: cancelled, or after the start attended or no_show."""
    found = _get_booked(consultation_id)
    if state not in STAGE_AFTER:
        raise Invalid({"state": ["Choose attended, no-show or cancelled."]})
    _check_started(found, ConsultationState(state))
    to, reason = STAGE_AFTER[state][found.lead.kind]
    _end(found, ConsultationState(state))
    service.move_stage(lead_id=found.lead_id, version=version, to=to, reason=reason)
    _record(found, state)
    return found


def _check_started(consultation: Consultation, state: ConsultationState) -> None:
    if state is not ConsultationState.CANCELLED and consultation.starts_at > clock.now():
        raise Conflict("This consultation has not started yet.")


def follow_stage(*, lead_id: int, to: str) -> None:
    """End the booked consultation of a lead whose stage was moved by hand, as the stage table says.

    Raises Conflict for a stage that it cannot have yet.
    """
    booked = booked_consultation(lead_id)
    visit = STAGE_WORK[booked.lead.kind][to].visit if booked is not None else Visit.KEPT
    if booked is None or visit is Visit.KEPT:
        return
    if visit is Visit.REFUSED:
        raise Conflict("A consultation is booked. Reschedule it on this page instead.")
    state = ConsultationState(visit)
    _check_started(booked, state)
    _end(booked, state)
    _record(booked, state)


def undo_act(act_id: int, *, lead_id: int) -> None:
    """Undo an act on a lead. An email about a consultation to come cannot be recalled: another one says what holds.

    Raises NotFound, and Conflict if something changed since.
    """
    was = _time_to_come(lead_id)
    service.undo_act(act_id, lead_id=lead_id)
    now, lead = _time_to_come(lead_id), service.get(lead_id)
    if now == was or email_refusal(lead) is not None:
        return
    if now is None and was is not None:
        _publish(lead, "cancelled", starts_at=was)
    elif now is not None:
        _publish(lead, "moved" if was else "booked", starts_at=now)


def _time_to_come(lead_id: int) -> datetime | None:
    booked = booked_consultation(lead_id)
    return booked.starts_at if booked is not None and booked.starts_at > clock.now() else None


def booked_consultation(lead_id: int) -> Consultation | None:
    """Return the booked consultation of a lead."""
    rows = select(Consultation).where(
        Consultation.lead_id == lead_id, Consultation.state == ConsultationState.BOOKED
    )
    return db.session.scalar(rows)


def consultations_of(lead_id: int) -> Sequence[Consultation]:
    """Return a lead's consultations, newest first."""
    rows = select(Consultation).where(Consultation.lead_id == lead_id)
    return db.session.scalars(rows.order_by(Consultation.id.desc()).limit(20)).all()


def get(*, lead_id: int, consultation_id: int) -> Consultation:
    """Return one consultation of a lead. Raises NotFound."""
    found = db.session.get(Consultation, consultation_id)
    if found is None or found.lead_id != lead_id:
        raise NotFound("Consultation not found.")
    return found


def consultations_on(day: date) -> Sequence[Consultation]:
    """Return the booked, attended and no-show consultations of a day in clinic time, in order."""
    zone = current.calendar().zone
    begins = datetime.combine(day, time(), zone).astimezone(UTC)
    ends = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    rows = select(Consultation).where(
        Consultation.starts_at >= begins,
        Consultation.starts_at < ends,
        Consultation.state.in_(
            (ConsultationState.BOOKED, ConsultationState.ATTENDED, ConsultationState.NO_SHOW)
        ),
    )
    return db.session.scalars(rows.order_by(Consultation.starts_at, Consultation.id).limit(SHOWN)).all()


def clinic_today() -> date:
    """Return today's date in clinic time."""
    return clock.now().astimezone(current.calendar().zone).date()


def _check(*, starts_at: datetime, minutes: int, confirmed: bool) -> None:
    now, wrong = clock.now(), {}
    if not now < starts_at < now + MAX_AHEAD:
        wrong["starts_at"] = ["Choose a time within the next year."]
    elif current.calendar().opening(starts_at.astimezone(current.calendar().zone).date()) is None:
        wrong["starts_at"] = ["The clinic is closed on that day."]
    if minutes not in LENGTHS:
        wrong["minutes"] = [f"Choose one of {', '.join(map(str, LENGTHS))} minutes."]
    unusual = _unusual(starts_at, minutes) if not wrong and not confirmed else None
    if unusual is not None:
        wrong["confirmed"] = [unusual]
    if wrong:
        raise Invalid(wrong)


def _unusual(starts_at: datetime, minutes: int) -> str | None:
    """Return what asks for a second word about a time; None if nothing does."""
    calendar = current.calendar()
    opening = calendar.opening(starts_at.astimezone(calendar.zone).date())
    if opening and (starts_at < opening[0] or starts_at + timedelta(minutes=minutes) > opening[1]):
        return "This time is outside opening hours. Check the box if you mean it."
    same = select(Consultation.id).where(
        Consultation.starts_at == starts_at, Consultation.state == ConsultationState.BOOKED
    )
    if db.session.scalar(same.limit(1)) is not None:
        return "Another consultation starts at this time. Check the box if you mean it."
    return None


def _store(
    lead: Lead, *, starts_at: datetime, minutes: int, moved: Consultation | None = None
) -> Consultation:
    now, actor = clock.now(), audit.current().actor
    made = Consultation(
        lead=lead, starts_at=starts_at, minutes=minutes, state=ConsultationState.BOOKED, state_at=now, created_at=now, actor=actor
    )  # fmt: skip
    if moved is not None:
        made.first_id, made.revision = moved.first_id or moved.id, moved.revision + 1
    db.session.add(made)
    db.session.flush()
    return made


def _get_booked(consultation_id: int) -> Consultation:
    found = db.session.get(Consultation, consultation_id, with_for_update={"of": Consultation})
    if found is None:
        raise NotFound("Consultation not found.")
    if found.state is not ConsultationState.BOOKED:
        raise Conflict("This consultation is closed or was rescheduled.")
    return found


def _end(consultation: Consultation, state: ConsultationState) -> None:
    consultation.state, consultation.state_at = state, clock.now()
    db.session.flush()


def _record(consultation: Consultation, what: str) -> None:
    lead = consultation.lead
    detail = {"what": what, "starts_at": consultation.starts_at.isoformat(), "id": consultation.id}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="consultation", detail=detail)
    audit.record("consultation." + what, object_type="lead", object_id=lead.id, detail=detail)
    if what == ConsultationState.ATTENDED:
        contacts.record_touch(lead.contact_id)
    _publish(lead, what, starts_at=consultation.starts_at)


def _publish(lead: Lead, what: str, *, starts_at: datetime) -> None:
    events.publish(
        ConsultationChanged(
            lead_id=lead.id,
            contact_id=lead.contact_id,
            what=what,
            starts_at=starts_at,
            has_email=email_refusal(lead) is None,
            language=lead.contact.language,
        )
    )


def email_refusal(lead: Lead) -> str | None:
    """Return why the person of a lead gets no email at all, appointments included, for staff; None if they may."""
    reason = consent.refusal(contact_id=lead.contact_id, topic=None, transactional=True, now=clock.now())
    if reason is not None:
        return REASON_LABELS[reason]
    if lead.referral is not None and lead.referral.patient_agreed_to_email:
        return None
    states = consent.states(lead.contact_id)
    if any(state.granted for state in states):
        return None
    return "they opted out" if states else "they have not agreed to be emailed"


def calendar_file(consultation: Consultation, *, place: str, host: str) -> str:
    """Return an iCalendar file (RFC 5545) for staff, with the lead's reference but not the person's name."""

    def stamp(moment: datetime) -> str:
        return moment.strftime("%Y%m%dT%H%M%SZ")

    ends = consultation.starts_at + timedelta(minutes=consultation.minutes)
    lines = [
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Clinic CRM//Consultations//EN", "METHOD:PUBLISH", "BEGIN:VEVENT",
        f"UID:consultation-{consultation.first_id or consultation.id}@{host}",
        f"SEQUENCE:{consultation.revision + (consultation.state == ConsultationState.CANCELLED)}",
        f"DTSTAMP:{stamp(consultation.state_at)}",
        f"DTSTART:{stamp(consultation.starts_at)}",
        f"DTEND:{stamp(ends)}",
        f"SUMMARY:Consultation {consultation.lead.reference}",
        f"LOCATION:{_escaped(place)}",
        f"STATUS:{_ical_status(consultation.state)}",
        "CLASS:PRIVATE", "END:VEVENT", "END:VCALENDAR",
    ]  # fmt: skip
    return "".join(_folded(line) + "\r\n" for line in lines)


def _ical_status(state: ConsultationState) -> str:
    match state:
        case ConsultationState.CANCELLED | ConsultationState.RESCHEDULED:
            return "CANCELLED"
        case ConsultationState.BOOKED | ConsultationState.ATTENDED | ConsultationState.NO_SHOW:
            return "CONFIRMED"
        case _:
            assert_never(state)


def _escaped(text: str) -> str:
    for sign in ("\\", ";", ","):
        text = text.replace(sign, "\\" + sign)
    return text.replace("\n", "\\n")


def _folded(line: str) -> str:
    """Fold a line into pieces of at most 75 bytes (RFC 5545 3.1)."""
    pieces, piece = [], ""
    for character in line:
        if len((piece + character).encode()) > 74:
            pieces.append(piece)
            piece = ""
        piece += character
    return "\r\n ".join([*pieces, piece])
