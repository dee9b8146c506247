"""The numbers of a month, sent to all who see reports on its first days: as a notification, and in their digest by email."""

from datetime import date, timedelta

from crm.core import clock
from crm.leads.rules import CONTACT_REQUEST, REFERRAL
from crm.reports import queries, rules
from crm.reports.queries import LeadFilter
from crm.reports.rules import Period
from crm.staff import service as staff
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind

FIRST_DAYS = (
    5  # of a month, on which the one before is reported: a clinic that begins later hears nothing of it
)


def notify() -> None:
    """Notify each member of staff who sees reports of last month's numbers, once."""
    today = clock.today()
    if today.day > FIRST_DAYS:
        return
    month = last_month(today)
    readers = [user.id for user in staff.able_to("see_reports")]
    notifications.notify_once(
        readers,
        kind=NotificationKind.MONTH,
        subject=numbers(month),
        link=f"/console/reports?from={month.first}&to={month.last}",
    )


def last_month(today: date) -> Period:
    """Return the month before that of `today`."""
    last = today.replace(day=1) - timedelta(days=1)
    return Period(first=last.replace(day=1), last=last)


def numbers(month: Period) -> str:
    """Return a month's numbers beside those of the month before, in English as all email to staff."""
    before = last_month(month.first)
    parts = [
        _compared("contact requests", month, before, kind=CONTACT_REQUEST),
        _compared("referrals", month, before, kind=REFERRAL),
    ]
    return f"{month.first:%B %Y} (month before): {'; '.join(parts)}"


def _compared(what: str, month: Period, before: Period, *, kind: str) -> str:
    now, then = (queries.steps(LeadFilter(kind=kind, period=period)) for period in (month, before))
    named = {what: 0, "booked": rules.BOOKED[kind], "attended": rules.ATTENDED[kind]}
    return ", ".join(f"{name} {now[step]:,} ({then[step]:,})" for name, step in named.items())
