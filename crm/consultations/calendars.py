"""Absences of clinicians, and the private calendar address of a staff member."""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import delete

from crm.audit import service as audit
from crm.consultations import queries, service
from crm.consultations.models import Absence, CalendarFeed, Consultation
from crm.core import clock, tokens
from crm.core.db import db
from crm.core.errors import Invalid, NotFound
from crm.core.tokens import Purpose
from crm.staff import service as staff

LONGEST_ABSENCE = timedelta(days=366)
FEED_PAST, FEED_AHEAD = timedelta(days=30), timedelta(days=366)
FEED_MOST = 2_000  # consultations in a feed


def add_absence(*, user_id: int, first_day: date, last_day: date) -> Absence:
    """Note the days on which a clinician sees nobody. Consultations that are booked then stay. Raises Invalid."""
    wrong = {}
    if user_id not in {one.id for one in service.clinicians()}:
        wrong["user"] = ["Choose a clinician."]
    if last_day < first_day:
        wrong["last_day"] = ["The last day is before the first day."]
    elif not clock.today() <= last_day <= first_day + LONGEST_ABSENCE:
        wrong["last_day"] = ["Choose days from today on, a year at most."]
    if wrong:
        raise Invalid(wrong)
    made = Absence(user_id=user_id, first_day=first_day, last_day=last_day)
    db.session.add(made)
    db.session.flush()
    audit.record("absence.add", object_type="user", object_id=user_id, detail=_days(made))
    return made


def remove_absence(absence_id: int) -> None:
    """Remove an absence. Raises NotFound."""
    found = db.session.get(Absence, absence_id)
    if found is None:
        raise NotFound("Absence not found.")
    audit.record("absence.remove", object_type="user", object_id=found.user_id, detail=_days(found))
    db.session.delete(found)
    db.session.flush()


def _days(absence: Absence) -> dict[str, str]:
    return {"first_day": absence.first_day.isoformat(), "last_day": absence.last_day.isoformat()}


def make_feed(*, user_id: int, everyone: bool) -> CalendarFeed:
    """Give a staff member a new private address; an earlier one ends."""
    end_feed(user_id=user_id)
    made = CalendarFeed(user_id=user_id, everyone=everyone, created_at=clock.now())
    db.session.add(made)
    db.session.flush()
    audit.record("calendar_feed.make", object_type="user", object_id=user_id, detail={"everyone": everyone})
    return made


def end_feed(*, user_id: int) -> None:
    """End the private address of a staff member, if there is one."""
    gone = delete(CalendarFeed).where(CalendarFeed.user_id == user_id).returning(CalendarFeed.id)
    if db.session.execute(gone).first() is not None:
        audit.record("calendar_feed.end", object_type="user", object_id=user_id)


def feed_token(feed: CalendarFeed) -> str:
    """Return the secret part of a feed's address."""
    return tokens.sign(Purpose.CALENDAR, feed.id)


def read_feed(token: str) -> Sequence[Consultation]:
    """Return the consultations of a feed.

    Raises NotFound for an address that was ended, or whose owner may no longer work leads.
    """
    feed_id, _ = tokens.read(Purpose.CALENDAR, token)
    feed = db.session.get(CalendarFeed, feed_id)
    if feed is None or not staff.may_work_leads(staff.get(feed.user_id)):
        raise NotFound("This calendar address has ended.")
    today = clock.today()
    who = None if feed.everyone else feed.user_id
    return queries.between(today - FEED_PAST, today + FEED_AHEAD, clinician_id=who, limit=FEED_MOST)
