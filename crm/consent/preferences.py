"""The preferences form: what it shows, what it takes, and keeping it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from werkzeug.datastructures import MultiDict

from crm.consent import queries, rules, service
from crm.consent.queries import Origin
from crm.consent.service import Changed
from crm.contacts.models import Contact
from crm.core import clock

LANGUAGES: Mapping[str, str] = {"en": "English", "es": "Español"}


@dataclass(frozen=True, kw_only=True)
class Form:
    """What stands in the form. `until` is text as typed, an ISO date or nothing; `errors`: field -> key of its words."""

    offered: tuple[str, ...]
    topics: frozenset[str]
    until: str
    first_day: date
    last_day: date
    language: str
    errors: Mapping[str, str]


def is_open(origin: Origin | None, *, now: datetime) -> bool:
    """Whether the email behind a link is young enough for the link to lead to somebody's preferences."""
    return origin is not None and now < origin.sent_at + rules.PREFERENCES_LINK_LIFE


def shown(contact: Contact) -> Form:
    """Return what a person gets now. Only kinds of email there has been talk of are offered; else the usual one."""
    now = clock.now()
    today = now.astimezone(ZoneInfo(contact.time_zone)).date()
    known = queries.topics_known(contact.id) or {"prospect_edu"}
    stopped = queries.refusal(contact_id=contact.id, topic=None, transactional=False, now=now)
    granted = {state.topic for state in queries.states(contact.id) if state.granted}
    pause = contact.snooze_until if contact.snooze_until and contact.snooze_until > now else None
    return Form(
        offered=tuple(topic for topic in rules.TOPICS if topic in known),
        topics=frozenset() if stopped is rules.Reason.OPTED_OUT else frozenset(granted),
        until=pause.astimezone(ZoneInfo(contact.time_zone)).date().isoformat() if pause else "",
        first_day=today + timedelta(days=1),
        last_day=today + timedelta(days=365),
        language=contact.language,
        errors={},
    )


def read(sent: MultiDict[str, str], contact: Contact) -> Form:
    """Return the form as sent, with errors where something cannot be kept. Topics not offered are passed over."""
    form = shown(contact)
    until, language = sent.get("until", "").strip(), sent.get("language", form.language)
    errors = {}
    if until and not _fits(until, form):
        errors["until"] = "snooze_error"
    if language not in LANGUAGES:
        errors["language"] = "language_error"
    topics = frozenset(sent.getlist("topics")) & frozenset(form.offered)
    return replace(form, topics=topics, until=until, language=language, errors=errors)


def _fits(until: str, form: Form) -> bool:
    try:
        return form.first_day <= date.fromisoformat(until) <= form.last_day
    except ValueError:
        return False


def keep(contact: Contact, chosen: Form, *, language: str) -> Changed:
    """Keep a form without errors. `language` is the one the page was read in: evidence names its wording."""
    changed = service.set_topics(contact_id=contact.id, topics=chosen.topics, language=language)
    service.snooze(contact_id=contact.id, until=_start_of(chosen.until, contact))
    service.set_language(contact_id=contact.id, language=chosen.language)
    return changed


def _start_of(day: str, contact: Contact) -> datetime | None:
    """The first moment of a day where the person lives."""
    return datetime.combine(date.fromisoformat(day), time(), ZoneInfo(contact.time_zone)) if day else None
