"""Reminders: two days and two hours before, once each, to people who may be emailed."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from crm.consultations import reminders
from crm.consultations import service as consultations
from crm.consultations.models import ConsultationReminder
from crm.core.db import db
from tests.consultations.test_service import book, open_tasks, sent
from tests.leads.test_service import lead  # noqa: F401 - fixture
from tests.support import factories as support_factories

AT = datetime(2026, 3, 12, 17, 0, tzinfo=UTC)  # a Thursday, nine days on
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def agreed(lead, redis):  # noqa: F811
    support_factories.shipped()
    support_factories.opted_in(lead.contact)
    return lead


def kinds():
    return list(db.session.scalars(select(ConsultationReminder.kind).order_by(ConsultationReminder.at)))


def test_two_days_and_two_hours_before(agreed, clock):
    book(agreed, AT)
    steps = [
        (AT - 2 * DAY - HOUR, 0),
        (AT - 2 * DAY, 1),
        (AT - DAY, 0),
        (AT - 2 * HOUR, 1),
        (AT - HOUR, 0),
        (AT + HOUR, 0),
    ]
    for moment, count in steps:
        clock.move_to(moment)
        assert reminders.remind() == count, moment
    assert kinds() == ["two_days", "two_hours"]
    assert sent(agreed) == ["appointment-booked", "appointment-reminder", "appointment-reminder"]


def test_moved_consultation_is_reminded_anew(agreed, clock):
    made = book(agreed, AT)
    clock.move_to(AT - 2 * DAY)
    reminders.remind()
    consultations.rebook(consultation_id=made.id, starts_at=AT + 4 * DAY)
    clock.move_to(AT + 2 * DAY)
    assert reminders.remind() == 1
    assert sent(agreed)[-2:] == ["appointment-changed", "appointment-reminder"]


@pytest.mark.parametrize(("booked_before", "count"), [(timedelta(days=1), 0), (timedelta(days=3), 1)])
def test_late_booking_needs_no_reminder(agreed, clock, booked_before, count):
    clock.move_to(AT - booked_before)
    book(agreed, AT)
    clock.move_to(AT - DAY + HOUR)
    assert reminders.remind() == count


def test_after_a_pause_only_the_later_one_is_sent(agreed, clock):
    book(agreed, AT)
    clock.move_to(AT - HOUR)
    assert reminders.remind() == 1
    assert kinds() == ["two_hours"]


def test_no_email_without_agreement(lead, clock, redis):  # noqa: F811
    support_factories.shipped()
    book(lead, AT)
    tasks = open_tasks(lead)
    clock.move_to(AT - 2 * DAY)
    assert (reminders.remind(), reminders.remind()) == (1, 0)
    assert (sent(lead), open_tasks(lead)) == ([], tasks)
