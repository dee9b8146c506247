"""Mentions in notes: "@sam, please call her" adds a task for Sam."""

import re
from collections.abc import Iterable, Sequence

from crm.contacts.rules import folded
from crm.core import clock, current
from crm.core.db import db
from crm.leads.models import Lead, Task
from crm.staff import service as staff
from crm.staff.models import User
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind

_HANDLE = re.compile(r"(?<![\w@.])@([^\W_][\w.-]{0,79})")


def handles(text: str) -> set[str]:
    """Return the text after each @, folded; email addresses such as a@b.example are not mentions."""
    return {folded(name.rstrip(".-")) for name in _HANDLE.findall(text)}


def mentioned_people(text: str, people: Iterable[User]) -> list[User]:
    """Return the people mentioned by unique first name, by full name with dots, or by the local part of their address."""
    asked = handles(text)
    if not asked:
        return []
    by_handle: dict[str, set[int]] = {}
    known = {person.id: person for person in people}
    for person in known.values():
        words = folded(person.name).split()
        for handle in {words[0], " ".join(words), folded(person.email.partition("@")[0])}:
            by_handle.setdefault(handle, set()).add(person.id)
    ids = {owner for name in asked for owner in by_handle.get(name, ()) if len(by_handle[name]) == 1}
    return [known[one] for one in sorted(ids)]


def notify_mentioned(lead: Lead, text: str) -> Sequence[User]:
    """Add a task for each staff member mentioned in a note; return them."""
    if "@" not in text:
        return []
    now = clock.now()
    found = mentioned_people(text, staff.at_work())
    for person in found:
        db.session.add(
            Task(
                lead_id=lead.id,
                kind="mention",
                title="You were mentioned in a note",
                owner_id=person.id,
                due_at=current.calendar().add_days(now, 1),
                created_at=now,
            )
        )
        notifications.about_lead(person.id, kind=NotificationKind.MENTIONED, reference=lead.reference)
    return found
