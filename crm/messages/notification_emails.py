"""Digests of notifications by email: to each staff member how many wait, or the numbers of a month; nothing about whom."""

from crm.core.config import Clinic
from crm.core.errors import NotFound
from crm.messages import alert_emails, service
from crm.staff import alerts
from crm.staff import service as staff
from crm.staff.notifications import service as notifications
from crm.staff.notifications import texts


def send_digests(*, clinic: Clinic) -> int:
    """Email each staff member a digest that is due; return how many. Without an approved text, raise an alert."""
    sent = 0
    for user_id, waiting in notifications.take_digests().items():
        contact_id = alert_emails.contact_of(staff.get(user_id).email, clinic.time_zone)
        try:
            service.send_transactional(
                "staff-digest",
                contact_id=contact_id,
                language="en",
                params={"facts": {"reference": texts.summary(waiting)}},
                passes_stop=True,
            )
        except NotFound:  # the text has no approved version; the console shows the notifications
            words = "Staff get no digest of their notifications: the email has no approved text."
            alerts.raise_alert(
                key="no-text-staff-digest", level="warning", text=words, link="/console/content"
            )
            return sent
        sent += 1
    return sent
