"""Preferences form: current values, validation and saving."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from werkzeug.datastructures import MultiDict

from crm.consent import queries, rules, service
from crm.consent.queries import SourceEmail
from crm.consent.service import PreferenceChange
from crm.contacts.models import Contact
from crm.core import clock

LANGUAGES: Mapping[str, str] = {"en": "English", "es": "Español"}


@dataclass(frozen=True, kw_only=True)
class PreferencesForm:
    """Values of the form. `until` is text as typed, an ISO date or empty; `errors` maps a field to its message key."""

    offered: tuple[str, ...]
    topics: frozenset[str]
    until: str
    first_day: date
    last_day: date
    language: str
    errors: Mapping[str, str]


def is_link_valid(origin: SourceEmail | None, *, now: datetime) -> bool:
    """Return whether the email behind a link is recent enough for the link to open the preferences."""
    return origin is not None and now < origin.sent_at + rules.PREFERENCES_LINK_LIFE


def current_form(contact: Contact) -> PreferencesForm:
    """Return what a person receives now. Offers only topics with evidence, or the default topic if there are none."""
    now = clock.now()
    today = now.astimezone(ZoneInfo(contact.time_zone)).date()
    known = queries.topics_known(contact.id) or {"prospect_edu"}
    refusal = queries.refusal(contact_id=contact.id, topic=None, transactional=False, now=now)
    granted = {state.topic for state in queries.states(contact.id) if state.granted}
    pause = contact.snooze_until if contact.snooze_until and contact.snooze_until > now else None
    return PreferencesForm(
        offered=tuple(topic for topic in rules.TOPICS if topic in known),
        topics=frozenset() if refusal is rules.Reason.OPTED_OUT else frozenset(granted),
        until=pause.astimezone(ZoneInfo(contact.time_zone)).date().isoformat() if pause else "",
        first_day=today + timedelta(days=1),
        last_day=today + timedelta(days=365),
        language=contact.language,
        errors={},
    )


def read_form(sent: MultiDict[str, str], contact: Contact) -> PreferencesForm:
    """Return the submitted form with its errors. Ignores topics that were not offered."""
    form = current_form(contact)
    until, language = sent.get("until", "").strip(), sent.get("language", form.language)
    errors = {}
    if until and not _fits(until, form):
        errors["until"] = "snooze_error"
    if language not in LANGUAGES:
        errors["language"] = "language_error"
    topics = frozenset(sent.getlist("topics")) & frozenset(form.offered)
    return replace(form, topics=topics, until=until, language=language, errors=errors)


def _fits(until: str, form: PreferencesForm) -> bool:
    try:
        return form.first_day <= date.fromisoformat(until) <= form.last_day
    except ValueError:
        return False


def save_form(contact: Contact, chosen: PreferencesForm, *, language: str) -> PreferenceChange:
    """Save a form without errors. `language` is the language of the page, whose wording the evidence names."""
    changed = service.set_topics(contact_id=contact.id, topics=chosen.topics, language=language)
    service.snooze(contact_id=contact.id, until=_start_of(chosen.until, contact))
    service.set_language(contact_id=contact.id, language=chosen.language)
    return changed


def _start_of(day: str, contact: Contact) -> datetime | None:
    """Return the start of a day in the person's time zone."""
    return datetime.combine(date.fromisoformat(day), time(), ZoneInfo(contact.time_zone)) if day else None
