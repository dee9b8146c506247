"""Consultations: book, reschedule, cancel, record the result. Each one also moves the lead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.consent import queries as consent
from crm.consent.rules import REASON_LABELS
from crm.consultations import queries
from crm.consultations.models import Consultation, ConsultationSequence
from crm.consultations.rules import ConsultationState
from crm.contacts import service as contacts
from crm.core import clock, current, events, row_scope
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.leads import service
from crm.leads.events import ConsultationChanged, ConsultationUndone
from crm.leads.models import Lead
from crm.leads.rules import CONTACT_REQUEST, REFERRAL
from crm.leads.stage_work import STAGE_WORK, Visit, close_tasks
from crm.staff import service as staff
from crm.staff.models import User

LENGTHS = (15, 30, 45, 60, 90, 120)  # minutes
_CALENDAR_LOCK = 7_302_003  # of PostgreSQL's advisory locks: one booking at a time
MAX_AHEAD = timedelta(days=366)

# The stage that a lead moves to: by kind, and by the result of the consultation.
STAGE_WHEN_BOOKED = {CONTACT_REQUEST: "consult_scheduled", REFERRAL: "scheduled"}
# The stages that lead there from each stage in which a person may ask for an appointment, the first call included.
STAGES_TO_BOOKING: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    CONTACT_REQUEST: {
        "new": ("contacted", "qualified"),
        "unconfirmed": ("contacted", "qualified"),
        "confirmed": ("contacted", "qualified"),
        "contacted": ("qualified",),
        "qualified": (),
        "lost": ("contacted", "qualified"),
    },
    REFERRAL: {
        "received": ("accepted",),
        "in_review": ("accepted",),
        "info_requested": ("accepted",),
        "accepted": (),
        "contacting": (),
        "unable_to_reach": ("contacting",),
        "patient_declined": ("contacting",),
        "no_show": ("contacting",),
        "cancelled": ("contacting",),
        "rescheduled": (),
    },
}
STAGE_AFTER: Mapping[str, Mapping[str, tuple[str, str | None]]] = {
    ConsultationState.ATTENDED: {CONTACT_REQUEST: ("consult_done", None), REFERRAL: ("seen", None)},
    ConsultationState.NO_SHOW: {CONTACT_REQUEST: ("qualified", None), REFERRAL: ("no_show", None)},
    ConsultationState.CANCELLED: {CONTACT_REQUEST: ("qualified", None), REFERRAL: ("cancelled", "other")},
}


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A time for a consultation, with whom, and in which room; None: not decided yet."""

    starts_at: datetime
    minutes: int
    clinician_id: int | None = None
    room_id: int | None = None

    @property
    def ends_at(self) -> datetime:
        """When it is over."""
        return self.starts_at + timedelta(minutes=self.minutes)


def book(
    *,
    lead_id: int,
    version: int,
    starts_at: datetime,
    minutes: int = 60,
    clinician_id: int | None = None,
    room_id: int | None = None,
    confirmed: bool = False,
) -> Consultation:
    """Book a consultation and move the lead; a person who agreed to be emailed gets a confirmation.

    `confirmed`: staff mean a time outside opening hours, in an absence, beside another consultation, or in a room that is taken.

    Raises Invalid for a time that is past, too far ahead or on a closed day, and Conflict if one is already booked or
    the stage does not allow it.
    """
    lead = service.get(lead_id)
    when = Slot(starts_at=starts_at, minutes=minutes, clinician_id=clinician_id, room_id=room_id)
    _check(when, confirmed=confirmed)
    if booked_consultation(lead_id) is not None:
        raise Conflict("A consultation is already booked. Reschedule it.")
    steps = STAGES_TO_BOOKING[lead.kind].get(lead.stage, ())
    for to in (*steps, STAGE_WHEN_BOOKED[lead.kind]):
        version = service.move_stage(lead_id=lead_id, version=version, to=to).version
    made = _store(lead, when)
    _record(made, "booked")
    return made


def is_bookable(lead: Lead) -> bool:
    """Return whether a consultation can be booked at the stage of a lead."""
    return lead.stage in STAGES_TO_BOOKING[lead.kind]


def rebook(
    *,
    consultation_id: int,
    starts_at: datetime,
    minutes: int | None = None,
    clinician_id: int | None = None,
    room_id: int | None = None,
    confirmed: bool = False,
) -> Consultation:
    """Reschedule a booked consultation; the lead keeps its stage, and what is None stays as it was.

    `clinician_id`, `room_id`: 0 for not decided.
    """
    old = _get_booked(consultation_id)
    when = Slot(
        starts_at=starts_at,
        minutes=minutes or old.minutes,
        clinician_id=_chosen(clinician_id, old.clinician_id),
        room_id=_chosen(room_id, old.room_id),
    )
    if when == _slot_of(old):
        raise Conflict("It is already booked for this time.")
    _check(when, confirmed=confirmed, besides=old)
    _end(old, ConsultationState.RESCHEDULED)
    made = _store(old.lead, when, moved=old)
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
    """Undo an act on a lead. An email about a consultation to come that left cannot be recalled: another one says
    what holds.

    Raises NotFound, and Conflict if something changed since.
    """
    was = _time_to_come(lead_id)
    service.undo_act(act_id, lead_id=lead_id)
    _raise_sequence(lead_id)
    now, lead = _time_to_come(lead_id), service.get(lead_id)
    if now is not None and now != was:
        events.publish(ConsultationUndone(change=_change(lead, "moved" if was else "booked", starts_at=now)))
    elif was is not None and now is None:
        events.publish(ConsultationUndone(change=_change(lead, "cancelled", starts_at=was)))


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


def _chosen(new: int | None, old: int | None) -> int | None:
    return old if new is None else new or None


def _slot_of(booked: Consultation) -> Slot:
    return Slot(
        starts_at=booked.starts_at,
        minutes=booked.minutes,
        clinician_id=booked.clinician_id,
        room_id=booked.room_id,
    )


def _check(when: Slot, *, confirmed: bool, besides: Consultation | None = None) -> None:
    """Raise Invalid if a consultation cannot be at this time; `besides`: the booking that it replaces."""
    wrong = _impossible(when, keeps_room=besides is not None and besides.room_id == when.room_id)
    if not wrong:
        db.session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _CALENDAR_LOCK})
        unusual = [] if confirmed else _unusual(when, besides=besides.id if besides else None)
        wrong = {"confirmed": unusual} if unusual else {}
    if wrong:
        raise Invalid(wrong)


def _impossible(when: Slot, *, keeps_room: bool) -> dict[str, list[str]]:
    """Return what no second word makes right about a time, by field. A booking may keep a room that was removed."""
    now, wrong, calendar = clock.now(), {}, current.calendar()
    if not now < when.starts_at < now + MAX_AHEAD:
        wrong["starts_at"] = ["Choose a time within the next year."]
    elif calendar.opening(when.starts_at.astimezone(calendar.zone).date()) is None:
        wrong["starts_at"] = ["The clinic is closed on that day."]
    if when.minutes not in LENGTHS:
        wrong["minutes"] = [f"Choose one of {', '.join(map(str, LENGTHS))} minutes."]
    if when.clinician_id not in {None, *(one.id for one in clinicians())}:
        wrong["clinician"] = ["Clinician not found."]
    return wrong if keeps_room else wrong | _unknown_room(when.room_id)


def _unknown_room(room_id: int | None) -> dict[str, list[str]]:
    known = {None, *(room.id for room in queries.rooms())}
    return {} if room_id in known else {"room": ["Room not found."]}


@row_scope.lifted()
def _unusual(when: Slot, *, besides: int | None) -> list[str]:
    """Return what asks for a second word about a time."""
    calendar = current.calendar()
    day = when.starts_at.astimezone(calendar.zone).date()
    opening, found = calendar.opening(day), []
    if opening and (when.starts_at < opening[0] or when.ends_at > opening[1]):
        found.append("This time is outside opening hours.")
    if when.clinician_id is not None and queries.is_absent(when.clinician_id, day):
        found.append("The clinician is absent on that day.")
    other = queries.overlapping(
        starts_at=when.starts_at, ends_at=when.ends_at, clinician_id=when.clinician_id, besides=besides
    )
    if other is not None:
        at = other.starts_at.astimezone(calendar.zone).strftime("%-I:%M %p")
        with_whom = f" with {other.clinician.name}" if other.clinician else ""
        found.append(f"Another consultation{with_whom} is at {at}, for {other.minutes} minutes.")
    return found + _taken_room(when, besides=besides)


def _taken_room(when: Slot, *, besides: int | None) -> list[str]:
    if when.room_id is None:
        return []
    other = queries.in_room(
        starts_at=when.starts_at, ends_at=when.ends_at, room_id=when.room_id, besides=besides
    )
    if other is None or other.room is None:
        return []
    at = other.starts_at.astimezone(current.calendar().zone).strftime("%-I:%M %p")
    return [f"{other.room.name} is taken at {at}, for {other.minutes} minutes."]


def clinicians() -> Sequence[User]:
    """Return the staff members whom a consultation can be booked with, by name."""
    return [user for user in staff.at_work() if any(role.name == "clinician" for role in user.roles)]


def _store(lead: Lead, when: Slot, *, moved: Consultation | None = None) -> Consultation:
    now, actor = clock.now(), audit.current().actor
    made = Consultation(
        lead=lead, starts_at=when.starts_at, minutes=when.minutes, clinician_id=when.clinician_id, room_id=when.room_id,
        state=ConsultationState.BOOKED, state_at=now, created_at=now, actor=actor,
    )  # fmt: skip
    if moved is not None:
        made.first_id, made.revision = moved.first_id or moved.id, moved.revision + 1
    db.session.add(made)
    db.session.flush()
    db.session.refresh(made, ["clinician", "room"])
    return made


def _raise_sequence(lead_id: int) -> None:
    row = insert(ConsultationSequence).values(lead_id=lead_id, number=1)
    higher = {"number": ConsultationSequence.number + 1}
    db.session.execute(row.on_conflict_do_update(index_elements=["lead_id"], set_=higher))


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
    _raise_sequence(lead.id)
    detail = {"what": what, "starts_at": consultation.starts_at.isoformat(), "id": consultation.id}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="consultation", detail=detail)
    audit.record("consultation." + what, object_type="lead", object_id=lead.id, detail=detail)
    if what == ConsultationState.ATTENDED:
        contacts.record_touch(lead.contact_id)
    _publish(lead, what, starts_at=consultation.starts_at)


def _publish(lead: Lead, what: str, *, starts_at: datetime) -> None:
    events.publish(_change(lead, what, starts_at=starts_at))


def _change(lead: Lead, what: str, *, starts_at: datetime) -> ConsultationChanged:
    return ConsultationChanged(
        lead_id=lead.id,
        contact_id=lead.contact_id,
        what=what,
        starts_at=starts_at,
        has_email=email_refusal(lead) is None,
        language=lead.contact.language,
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
