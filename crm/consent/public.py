"""Email link pages: confirm (/c/), unsubscribe (/u/) and preferences (/p/).

None needs a cookie, a sign-in or a form token: the link grants access, and a mailbox provider that unsubscribes a person
has nothing else. GET never changes anything, because scanners open every link in an email.
"""

from datetime import date

from babel.dates import format_date
from flask import request, url_for
from flask.typing import ResponseReturnValue

from crm.consent import consent_texts, preferences, queries, service
from crm.consent.models import Confirmation
from crm.consent.preferences import LANGUAGES
from crm.consent.queries import SourceEmail
from crm.consent.rules import ConfirmationStatus, Reason
from crm.consent.texts import PAGES, TOPICS
from crm.consent.views import add_privacy_headers, language_param, reader_language, render_notice, render_page
from crm.contacts.models import Contact
from crm.core import clock, tokens
from crm.core.blueprints import CsrfCheck, PublicPages
from crm.core.db import db
from crm.core.errors import NotFound
from crm.core.tokens import Purpose

pages = PublicPages("consent", __name__, csrf=CsrfCheck.ADDRESS)
pages.after_request(add_privacy_headers)

# `?by=` of our own forms; mailbox providers send none
SOURCES = {"page": "unsubscribe_page", "preferences": "preferences"}


@pages.errorhandler(NotFound)
def _unreadable(_error: NotFound) -> ResponseReturnValue:
    return render_notice("unknown", None, status=404)


@pages.get("/c/<token>")
def confirm(token: str) -> ResponseReturnValue:
    """Show the confirmation page."""
    confirmation, status, contact = _confirmation(token)
    if status is not ConfirmationStatus.OPEN:
        return _closed(status, contact)
    return render_page(
        "confirm",
        contact,
        token=token,
        wording=consent_texts.find(confirmation.wording, reader_language(contact)).text,
    )


@pages.post("/c/<token>")
def say_yes(token: str) -> ResponseReturnValue:
    """Confirm. A second click changes nothing."""
    confirmation, status, contact = _confirmation(token)
    if status is not ConfirmationStatus.OPEN:
        return _closed(status, contact)
    service.confirm(confirmation_id=confirmation.id, language=reader_language(contact))
    refusal = queries.refusal(
        contact_id=confirmation.contact_id, topic=confirmation.topics[0], transactional=False, now=clock.now()
    )
    if refusal in (Reason.SUPPRESSED, Reason.STOPPED):  # promise no email, and give no reason
        return render_notice("confirmed_silent", contact, contact_us=True)
    return render_notice("confirmed", contact)


def _confirmation(token: str) -> tuple[Confirmation, ConfirmationStatus, Contact | None]:
    confirmation_id, _ = tokens.read(Purpose.CONFIRM, token)
    # locked on a POST, so that the second of two clicks sees the result of the first
    locked = request.method == "POST" or None
    confirmation = db.session.get(Confirmation, confirmation_id, with_for_update=locked)
    if confirmation is None:
        raise NotFound("Confirmation not found.")
    return confirmation, *queries.confirmation_status(confirmation, now=clock.now())


def _closed(status: ConfirmationStatus, contact: Contact | None) -> ResponseReturnValue:
    if status is ConfirmationStatus.ANSWERED:
        return render_notice("answered", contact)
    return render_notice(status.value, contact, status=410, contact_us=True)


@pages.get("/u/<token>")
def stop(token: str) -> ResponseReturnValue:
    """Show the unsubscribe page."""
    contact, origin = _reader(Purpose.UNSUBSCRIBE, token)
    if contact is None:
        return render_notice("gone", None)
    if _refusal(contact, origin) is Reason.OPTED_OUT:
        return _stopped("stopped", contact, token)
    leaving = origin.topic if origin and origin.topic and _receives(contact, origin.topic) else None
    return render_page(
        "unsubscribe", contact, token=token, topic=leaving, choose_url=_choose_url(token, origin)
    )


@pages.post("/u/<token>")
def stop_all(token: str) -> ResponseReturnValue:
    """Unsubscribe from everything at once; repeating it changes nothing (RFC 8058).

    The body is `List-Unsubscribe=One-Click`, as a form of either type. It is not read: every POST to this address means
    unsubscribe, and a garbled body must not prevent it.
    """
    contact_id, _ = tokens.read(Purpose.UNSUBSCRIBE, token)
    contact, origin = _reader(Purpose.UNSUBSCRIBE, token)
    source = SOURCES.get(request.args.get("by", ""), "one_click")
    service.withdraw(
        contact_id=contact_id, topic=None, source=source, message_id=origin.message_id if origin else None
    )
    return _stopped("stopped", contact, token) if contact else render_notice("gone", None)


@pages.post("/u/<token>/topic")
def stop_topic(token: str) -> ResponseReturnValue:
    """Unsubscribe from the topic of the email that contained the link."""
    contact, origin = _reader(Purpose.UNSUBSCRIBE, token)
    if contact is None:
        return render_notice("gone", None)
    if origin is None or origin.topic is None:
        raise NotFound("This link has no topic.")
    service.withdraw(
        contact_id=contact.id, topic=origin.topic, source=SOURCES["page"], message_id=origin.message_id
    )
    return _stopped("topic_stopped", contact, token, topic=TOPICS[reader_language(contact)][origin.topic])


@pages.post("/u/<token>/undo")
def undo(token: str) -> ResponseReturnValue:
    """Undo the unsubscribe, within the hour."""
    contact, origin = _reader(Purpose.UNSUBSCRIBE, token)
    if contact is None:
        return render_notice("gone", None)
    if service.undo_withdraw(contact_id=contact.id):
        return render_notice("undone", contact, choose_url=_choose_url(token, origin))
    return render_notice("too_late", contact, contact_us=True)


def _stopped(about: str, contact: Contact, token: str, topic: str = "") -> ResponseReturnValue:
    can_undo = service.can_undo(contact_id=contact.id)
    origin = _reader(Purpose.UNSUBSCRIBE, token)[1]
    return render_notice(
        about,
        contact,
        undo_url=url_for("consent.undo", token=token, **language_param()) if can_undo else None,
        choose_url=_choose_url(token, origin),
        topic=topic,
    )


def _refusal(contact: Contact, origin: SourceEmail | None) -> Reason | None:
    topic = origin.topic if origin else None
    return queries.refusal(contact_id=contact.id, topic=topic, transactional=False, now=clock.now())


def _receives(contact: Contact, topic: str) -> bool:
    return any(state.topic == topic and state.granted for state in queries.states(contact.id))


def _choose_url(token: str, origin: SourceEmail | None) -> str | None:
    """Return the address of the preferences page, while the email's own link to it is valid."""
    contact_id, serial = tokens.read(Purpose.UNSUBSCRIBE, token)
    if not preferences.is_link_valid(origin, now=clock.now()):
        return None
    choose = tokens.sign(Purpose.PREFERENCES, contact_id, serial=serial)
    return url_for("consent.choose", token=choose, **language_param())


@pages.get("/p/<token>")
def choose(token: str) -> ResponseReturnValue:
    """Show the preferences."""
    contact, origin = _reader(Purpose.PREFERENCES, token)
    if contact is None:
        return render_notice("gone", None)
    if not preferences.is_link_valid(origin, now=clock.now()):
        return render_page("preferences_closed", contact, 410, stop_url=_stop_url(token))
    return _form(contact, token, preferences.current_form(contact))


@pages.post("/p/<token>")
def save(token: str) -> ResponseReturnValue:
    """Save the preferences, all of them or none."""
    contact, origin = _reader(Purpose.PREFERENCES, token)
    if contact is None:
        return render_notice("gone", None)
    if not preferences.is_link_valid(origin, now=clock.now()):
        return render_page("preferences_closed", contact, 410, stop_url=_stop_url(token))
    chosen = preferences.read_form(request.form, contact)
    if chosen.errors:
        return _form(contact, token, chosen, status=422)
    changed = preferences.save_form(contact, chosen, language=reader_language(contact))
    return _form(contact, token, preferences.current_form(contact), saved=True, asked=changed.asked)


def _form(
    contact: Contact,
    token: str,
    form: preferences.PreferencesForm,
    *,
    status: int = 200,
    saved: bool = False,
    asked: frozenset[str] = frozenset(),
) -> ResponseReturnValue:
    language = reader_language(contact)
    topics, days = TOPICS[language], {"first": form.first_day, "last": form.last_day}
    return render_page(
        "preferences",
        contact,
        status,
        token=token,
        form=form,
        errors={
            field: PAGES[language][key].format(
                **{name: _long_date(day, language) for name, day in days.items()}
            )
            for field, key in form.errors.items()
        },
        offered=[(topic, topics[topic]) for topic in form.offered],
        email_languages=list(LANGUAGES.items()),
        wording=consent_texts.current("preferences", language).text,
        saved=saved,
        asked=[topics[topic] for topic in form.offered if topic in asked],
        stop_url=_stop_url(token),
    )


def _long_date(day: date, language: str) -> str:
    return format_date(day, format="long", locale=language)


def _stop_url(token: str) -> str:
    contact_id, serial = tokens.read(Purpose.PREFERENCES, token)
    stop = tokens.sign(Purpose.UNSUBSCRIBE, contact_id, serial=serial)
    return url_for("consent.stop_all", token=stop, by="preferences", **language_param())


def _reader(purpose: Purpose, token: str) -> tuple[Contact | None, SourceEmail | None]:
    """Return the person a link belongs to (None: erased or unknown) and the email that contained it."""
    contact_id, serial = tokens.read(purpose, token)
    people = queries.merge_chain(contact_id)
    contact = db.session.get(Contact, people[-1]) if people else None
    if contact is None or contact.erased_at is not None:
        return None, None
    return contact, queries.source_email(contact_id, serial)
