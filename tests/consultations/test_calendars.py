"""Absences, and private calendar addresses."""

from datetime import timedelta

import pytest

from crm.consultations import calendars, queries
from crm.core.errors import Invalid, NotFound
from crm.staff import service as staff
from tests.consultations.test_service import SOON, book, doctors  # noqa: F401 - fixture
from tests.leads.test_service import lead, referral  # noqa: F401 - fixtures

DAY = timedelta(days=1)


def test_absence_asks(lead, doctors):  # noqa: F811
    ada, bo = doctors
    made = calendars.add_absence(user_id=ada.id, first_day=SOON.date() - DAY, last_day=SOON.date())
    with pytest.raises(Invalid, match="look") as error:
        book(lead, clinician_id=ada.id)
    assert error.value.fields == {"confirmed": ["The clinician is absent on that day."]}
    assert queries.is_absent(ada.id, SOON.date() + DAY) is queries.is_absent(bo.id, SOON.date()) is False
    assert queries.absences(SOON.date(), SOON.date()) == [made]
    assert queries.absences(SOON.date() + DAY) == []
    calendars.remove_absence(made.id)
    assert book(lead, clinician_id=ada.id).clinician == ada
    with pytest.raises(NotFound):
        calendars.remove_absence(made.id)


@pytest.mark.parametrize(
    ("first", "last", "field"), [(1, 0, "last_day"), (-5, -3, "last_day"), (0, 400, "last_day")]
)
def test_absence_refused(clock, doctors, first, last, field):  # noqa: F811
    days = {"first_day": SOON.date() + first * DAY, "last_day": SOON.date() + last * DAY}
    with pytest.raises(Invalid) as error:
        calendars.add_absence(user_id=doctors[0].id, **days)
    assert list(error.value.fields) == [field]


def test_absence_of_no_clinician(edge, clock):
    with pytest.raises(Invalid):
        calendars.add_absence(user_id=0, first_day=SOON.date(), last_day=SOON.date())


def test_feed(lead, referral, doctors):  # noqa: F811
    ada = doctors[0]
    mine, other = book(lead, clinician_id=ada.id), book(referral, confirmed=True)
    first = calendars.feed_token(calendars.make_feed(user_id=ada.id, everyone=False))
    assert calendars.read_feed(first) == [mine]
    second = calendars.feed_token(calendars.make_feed(user_id=ada.id, everyone=True))
    assert calendars.read_feed(second) == [mine, other]
    for ended in (first, "x", second[:-3] + "AA0"):
        with pytest.raises(NotFound):
            calendars.read_feed(ended)
    staff.disable(user_id=ada.id)
    with pytest.raises(NotFound):
        calendars.read_feed(second)
    calendars.end_feed(user_id=ada.id)
    assert queries.feed_of(ada.id) is None
