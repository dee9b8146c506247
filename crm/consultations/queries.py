"""Consultation queries: lists, a span of days, overlaps, rooms, absences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_

from crm.consultations.models import Absence, CalendarFeed, Consultation, ConsultationSequence, Room
from crm.consultations.rules import ConsultationState
from crm.core import clock, current, paging
from crm.core.db import db
from crm.core.paging import Page

PAGE = 50
IN_CALENDAR = 500  # consultations of the days that one page shows
LONGEST = timedelta(minutes=120)
HELD = (ConsultationState.BOOKED, ConsultationState.ATTENDED, ConsultationState.NO_SHOW)


def day_start(day: date) -> datetime:
    """Return the midnight, in clinic time, with which a day begins."""
    return datetime.combine(day, time(), current.calendar().zone).astimezone(UTC)


def without_outcome() -> Select[int, datetime]:
    """Select (lead id, start) of the consultations of earlier days that nobody has noted the outcome of."""
    return select(Consultation.lead_id, Consultation.starts_at).where(
        Consultation.state == ConsultationState.BOOKED, Consultation.starts_at < day_start(clock.today())
    )


@dataclass(frozen=True, kw_only=True)
class ConsultationList:
    """One list of consultations: which, and whether it begins with the latest."""

    label: str
    empty: str
    states: tuple[ConsultationState, ...]
    latest_first: bool = False
    only_past: bool = False
    only_coming: bool = False


LISTS: Mapping[str, ConsultationList] = {
    "coming": ConsultationList(
        label="Upcoming", empty="No consultation is booked.", states=(ConsultationState.BOOKED,), only_coming=True
    ),
    "outcome": ConsultationList(
        label="Outcome missing",
        empty="Every past consultation has an outcome.",
        states=(ConsultationState.BOOKED,),
        only_past=True,
    ),
    "no_show": ConsultationList(
        label="No-shows", empty="No one has missed a consultation.", states=(ConsultationState.NO_SHOW,), latest_first=True
    ),
    "all": ConsultationList(
        label="All", empty="No consultations yet.", states=(*HELD, ConsultationState.CANCELLED), latest_first=True
    ),
}  # fmt: skip


def load_list(
    name: str,
    *,
    clinician_id: int | None = None,
    room_id: int | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
) -> Page[Consultation]:
    """Return a page of a list; `clinician_id`, `room_id`: with or in this one only, 0: in none yet.

    Raises KeyError, Invalid.
    """
    wanted, key = LISTS[name], (Consultation.starts_at, Consultation.id)
    rows = select(Consultation).where(
        Consultation.state.in_(wanted.states), *_of(clinician_id=clinician_id, room_id=room_id)
    )
    if wanted.only_coming or wanted.only_past:
        now = clock.now()
        rows = rows.where(Consultation.starts_at < now if wanted.only_past else Consultation.starts_at >= now)
    if cursor:
        after = tuple_(*paging.decode(cursor, (datetime, int)))
        rows = rows.where(tuple_(*key) < after if wanted.latest_first else tuple_(*key) > after)
    order = (column.desc() if wanted.latest_first else column for column in key)
    found = db.session.scalars(rows.order_by(*order).limit(limit + 1)).all()
    last = found[limit - 1] if len(found) > limit else None
    return Page(rows=found[:limit], next=paging.encode(last.starts_at, last.id) if last else None)


def _of(*, clinician_id: int | None, room_id: int | None) -> list[ColumnElement[bool]]:
    wanted = ((Consultation.clinician_id, clinician_id), (Consultation.room_id, room_id))
    return [
        column.is_(None) if value == 0 else column == value for column, value in wanted if value is not None
    ]


def between(
    first: date,
    last: date,
    *,
    clinician_id: int | None = None,
    room_id: int | None = None,
    limit: int = IN_CALENDAR,
) -> Sequence[Consultation]:
    """Return the booked, attended and missed consultations of these days in clinic time, in order."""
    rows = select(Consultation).where(
        Consultation.starts_at >= day_start(first),
        Consultation.starts_at < day_start(last + timedelta(days=1)),
        Consultation.state.in_(HELD),
        *_of(clinician_id=clinician_id, room_id=room_id),
    )
    return db.session.scalars(rows.order_by(Consultation.starts_at, Consultation.id).limit(limit)).all()


def overlapping(
    *, starts_at: datetime, ends_at: datetime, clinician_id: int | None, besides: int | None
) -> Consultation | None:
    """Return a booked consultation at the same time that the clinician, if one is named, may have."""
    rows = _at_the_time(starts_at, ends_at, besides)
    if clinician_id is not None:
        mine = Consultation.clinician_id
        rows = rows.where(or_(mine == clinician_id, mine.is_(None)))
    return db.session.scalar(rows)


def in_room(
    *, starts_at: datetime, ends_at: datetime, room_id: int, besides: int | None
) -> Consultation | None:
    """Return a consultation that is booked in a room at the same time."""
    rows = _at_the_time(starts_at, ends_at, besides)
    return db.session.scalar(rows.where(Consultation.room_id == room_id))


def _at_the_time(starts_at: datetime, ends_at: datetime, besides: int | None) -> Select[Consultation]:
    """Select the first booked consultation at a time."""
    rows = select(Consultation).where(
        Consultation.state == ConsultationState.BOOKED,
        Consultation.starts_at > starts_at - LONGEST,
        Consultation.starts_at < ends_at,
        Consultation.starts_at + Consultation.minutes * timedelta(minutes=1) > starts_at,
    )
    if besides is not None:
        rows = rows.where(Consultation.id != besides)
    return rows.order_by(Consultation.starts_at, Consultation.id).limit(1)


def rooms() -> Sequence[Room]:
    """Return the rooms that a consultation can be booked in, by name."""
    rows = select(Room).where(Room.removed_at.is_(None))
    return db.session.scalars(rows.order_by(func.lower(Room.name))).all()


def sequences(lead_ids: Sequence[int]) -> dict[int, int]:
    """Return how often the consultations of leads were changed, by lead id."""
    rows = select(ConsultationSequence.lead_id, ConsultationSequence.number)
    found = db.session.execute(rows.where(ConsultationSequence.lead_id.in_(lead_ids)))
    return {row.lead_id: row.number for row in found}


def is_absent(user_id: int, day: date) -> bool:
    """Return whether a clinician is absent on a day."""
    rows = select(Absence.id).where(
        Absence.user_id == user_id, Absence.first_day <= day, Absence.last_day >= day
    )
    return db.session.scalar(rows.limit(1)) is not None


def absences(first: date, last: date | None = None) -> Sequence[Absence]:
    """Return the absences that touch these days (up to any day without `last`), by first day."""
    rows = select(Absence).where(Absence.last_day >= first)
    if last is not None:
        rows = rows.where(Absence.first_day <= last)
    return db.session.scalars(rows.order_by(Absence.first_day, Absence.id).limit(IN_CALENDAR)).all()


def feed_of(user_id: int) -> CalendarFeed | None:
    """Return the calendar feed of a staff member."""
    return db.session.scalar(select(CalendarFeed).where(CalendarFeed.user_id == user_id))
