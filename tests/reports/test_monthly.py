"""The numbers of a month: to whom, when, what they say, and that each person hears of them once."""

from datetime import date

import pytest

from crm.core.db import db, transaction
from crm.messages import notification_emails
from crm.messages.models import Message
from crm.reports import monthly
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind
from jobs import reports as jobs
from tests.reports.test_console import add_lead
from tests.support import factories
from tests.support.browser_client import member

# It is March 3. February had three requests, January two, March one.
SAYS = (
    "February 2026 (month before): contact requests 3 (2), booked 1 (0), attended 0 (0); "
    "referrals 1 (0), booked 1 (0), attended 0 (0)"
)


@pytest.fixture
def leads(database, clock):
    for days in (1, 10, 11, 40, 41):
        add_lead("new", days=days)
    add_lead("consult_scheduled", days=12)
    add_lead("scheduled", days=13, kind="referral")
    jobs.count()


def heard(user) -> list[str]:
    found = notifications.notifications_of(user.id).rows
    return [one.subject for one in found if one.kind is NotificationKind.MONTH]


def test_staff_hear_of_a_month_once(leads, clock):
    reader = member("viewer")
    jobs.notify_of_month()
    assert heard(reader) == [SAYS]
    with transaction():
        notifications.read_all(reader.id)
    jobs.notify_of_month()
    assert heard(reader) == [SAYS]
    clock.shift(3 * 86_400)  # March 6: a person who comes now hears of March
    late = member("marketer")
    jobs.notify_of_month()
    assert heard(late) == []


def test_the_digest_quotes_the_numbers(leads, clock, database):
    with transaction():
        factories.shipped()
    member("viewer")
    jobs.notify_of_month()
    clock.shift(3600)
    with transaction():
        assert notification_emails.send_digests(clinic=database.settings.clinic) == 1
    message = db.session.scalars(db.select(Message).order_by(Message.id.desc())).first()
    assert message.params["facts"]["reference"] == SAYS


@pytest.mark.parametrize(
    ("today", "first", "last"),
    [
        (date(2026, 3, 1), date(2026, 2, 1), date(2026, 2, 28)),
        (date(2027, 1, 5), date(2026, 12, 1), date(2026, 12, 31)),
    ],
)
def test_the_month_before(today, first, last):
    month = monthly.last_month(today)
    assert (month.first, month.last) == (first, last)
