"""The pages behind the links in our emails: yes (/c/), no (/u/), and everything between (/p/).

None needs a cookie, a sign-in or a form token: the link is the key, and a mailbox provider that presses "unsubscribe"
for somebody has nothing else. GET changes nothing anywhere, because scanners open every link in an email.
"""

from datetime import date

from babel.dates import format_date
from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from crm.consent import consent_texts, preferences, queries, service
from crm.consent.models import Confirmation
from crm.consent.preferences import LANGUAGES
from crm.consent.queries import Origin
from crm.consent.rules import Reason, Standing
from crm.consent.texts import PAGES, TOPICS
from crm.consent.views import keep_private, kept_language, language_of, notice, show
from crm.contacts.models import Contact
from crm.core import clock, tokens
from crm.core.db import db
from crm.core.errors import NotFound
from crm.core.tokens import Purpose

pages = Blueprint("consent", __name__)
pages.after_request(keep_private)

SOURCES = {
    "page": "unsubscribe_page",
    "preferences": "preferences",
}  # our own forms say so; mailbox providers do not


@pages.errorhandler(NotFound)
def _unreadable(_error: NotFound) -> ResponseReturnValue:
    return notice("unknown", None, status=404)


# Yes


@pages.get("/c/<token>")
def confirm(token: str) -> ResponseReturnValue:
    """Show the question; answer nothing."""
    question, standing, contact = _question(token)
    if standing is not Standing.OPEN:
        return _closed(standing, contact)
    return show(
        "confirm",
        contact,
        token=token,
        wording=consent_texts.find(question.wording, language_of(contact)).text,
    )


@pages.post("/c/<token>")
def say_yes(token: str) -> ResponseReturnValue:
    """Take the yes. Pressing twice is one yes."""
    question, standing, contact = _question(token)
    if standing is not Standing.OPEN:
        return _closed(standing, contact)
    service.confirm(confirmation_id=question.id, language=language_of(contact))
    refusal = queries.refusal(
        contact_id=question.contact_id, topic=question.topics[0], transactional=False, now=clock.now()
    )
    if refusal in (
        Reason.SUPPRESSED,
        Reason.STOPPED,
    ):  # promise no email that will not come, and do not say why
        return notice("confirmed_silent", contact, contact_us=True)
    return notice("confirmed", contact)


def _question(token: str) -> tuple[Confirmation, Standing, Contact | None]:
    confirmation_id, _ = tokens.read(Purpose.CONFIRM, token)
    # held from here on a POST, so that the second of two presses sees the first one's answer
    question = db.session.get(Confirmation, confirmation_id, with_for_update=request.method == "POST" or None)
    if question is None:
        raise NotFound("There is no such question.")
    return question, *queries.standing(question, now=clock.now())


def _closed(standing: Standing, contact: Contact | None) -> ResponseReturnValue:
    if standing is Standing.ANSWERED:
        return notice("answered", contact)
    return notice(standing.value, contact, status=410, contact_us=True)


# No


@pages.get("/u/<token>")
def stop(token: str) -> ResponseReturnValue:
    """Offer to stop; stop nothing."""
    contact, origin = _reader(Purpose.UNSUBSCRIBE, token)
    if contact is None:
        return notice("gone", None)
    if _refusal(contact, origin) is Reason.OPTED_OUT:
        return _stopped("stopped", contact, token)
    leaving = origin.topic if origin and origin.topic and _gets(contact, origin.topic) else None
    return show("unsubscribe", contact, token=token, topic=leaving, choose_url=_choose_url(token, origin))


@pages.post("/u/<token>")
def stop_all(token: str) -> ResponseReturnValue:
    """Stop everything, at once and however often it is asked (RFC 8058).

    The body says `List-Unsubscribe=One-Click`, as a form of either type. It is not read: whoever posts to this
    address means stop, and a body that some program garbled must not keep it from happening.
    """
    contact_id, _ = tokens.read(Purpose.UNSUBSCRIBE, token)
    contact, origin = _reader(Purpose.UNSUBSCRIBE, token)
    source = SOURCES.get(request.args.get("by", ""), "one_click")
    service.withdraw(
        contact_id=contact_id, topic=None, source=source, message_id=origin.message_id if origin else None
    )
    return _stopped("stopped", contact, token) if contact else notice("gone", None)


@pages.post("/u/<token>/topic")
def stop_topic(token: str) -> ResponseReturnValue:
    """Stop only the kind of email that the link came with."""
    contact, origin = _reader(Purpose.UNSUBSCRIBE, token)
    if contact is None:
        return notice("gone", None)
    if origin is None or origin.topic is None:
        raise NotFound("This link names no kind of email.")
    service.withdraw(
        contact_id=contact.id, topic=origin.topic, source=SOURCES["page"], message_id=origin.message_id
    )
    return _stopped("topic_stopped", contact, token, topic=TOPICS[language_of(contact)][origin.topic])


@pages.post("/u/<token>/undo")
def undo(token: str) -> ResponseReturnValue:
    """Take the stop back, within the hour."""
    contact, origin = _reader(Purpose.UNSUBSCRIBE, token)
    if contact is None:
        return notice("gone", None)
    if service.undo_withdraw(contact_id=contact.id):
        return notice("undone", contact, choose_url=_choose_url(token, origin))
    return notice("too_late", contact, contact_us=True)


def _stopped(about: str, contact: Contact, token: str, topic: str = "") -> ResponseReturnValue:
    can_undo = service.can_undo(contact_id=contact.id)
    origin = _reader(Purpose.UNSUBSCRIBE, token)[1]
    return notice(
        about,
        contact,
        undo_url=url_for("consent.undo", token=token, **kept_language()) if can_undo else None,
        choose_url=_choose_url(token, origin),
        topic=topic,
    )


def _refusal(contact: Contact, origin: Origin | None) -> Reason | None:
    topic = origin.topic if origin else None
    return queries.refusal(contact_id=contact.id, topic=topic, transactional=False, now=clock.now())


def _gets(contact: Contact, topic: str) -> bool:
    return any(state.topic == topic and state.granted for state in queries.states(contact.id))


def _choose_url(token: str, origin: Origin | None) -> str | None:
    """The way to the preferences, while the email is young enough that its own link there would work."""
    contact_id, serial = tokens.read(Purpose.UNSUBSCRIBE, token)
    if not preferences.is_open(origin, now=clock.now()):
        return None
    choose = tokens.sign(Purpose.PREFERENCES, contact_id, serial=serial)
    return url_for("consent.choose", token=choose, **kept_language())


# Everything between


@pages.get("/p/<token>")
def choose(token: str) -> ResponseReturnValue:
    """Show what a person gets."""
    contact, origin = _reader(Purpose.PREFERENCES, token)
    if contact is None:
        return notice("gone", None)
    if not preferences.is_open(origin, now=clock.now()):
        return show("preferences_closed", contact, 410, stop_url=_stop_url(token))
    return _form(contact, token, preferences.shown(contact))


@pages.post("/p/<token>")
def save(token: str) -> ResponseReturnValue:
    """Keep what they chose, all of it or nothing."""
    contact, origin = _reader(Purpose.PREFERENCES, token)
    if contact is None:
        return notice("gone", None)
    if not preferences.is_open(origin, now=clock.now()):
        return show("preferences_closed", contact, 410, stop_url=_stop_url(token))
    chosen = preferences.read(request.form, contact)
    if chosen.errors:
        return _form(contact, token, chosen, status=422)
    changed = preferences.keep(contact, chosen, language=language_of(contact))
    return _form(contact, token, preferences.shown(contact), saved=True, asked=changed.asked)


def _form(
    contact: Contact,
    token: str,
    form: preferences.Form,
    *,
    status: int = 200,
    saved: bool = False,
    asked: frozenset[str] = frozenset(),
) -> ResponseReturnValue:
    language = language_of(contact)
    topics, days = TOPICS[language], {"first": form.first_day, "last": form.last_day}
    return show(
        "preferences",
        contact,
        status,
        token=token,
        form=form,
        errors={
            field: PAGES[language][key].format(**{name: _spoken(day, language) for name, day in days.items()})
            for field, key in form.errors.items()
        },
        offered=[(topic, topics[topic]) for topic in form.offered],
        spoken=list(LANGUAGES.items()),
        wording=consent_texts.current("preferences", language).text,
        saved=saved,
        asked=[topics[topic] for topic in form.offered if topic in asked],
        stop_url=_stop_url(token),
    )


def _spoken(day: date, language: str) -> str:
    return format_date(day, format="long", locale=language)


def _stop_url(token: str) -> str:
    contact_id, serial = tokens.read(Purpose.PREFERENCES, token)
    stop = tokens.sign(Purpose.UNSUBSCRIBE, contact_id, serial=serial)
    return url_for("consent.stop_all", token=stop, by="preferences", **kept_language())


# What they have in common


def _reader(purpose: Purpose, token: str) -> tuple[Contact | None, Origin | None]:
    """Return whose link this is (None: erased, or nobody we know) and the email it came with."""
    contact_id, serial = tokens.read(purpose, token)
    people = queries.lineage(contact_id)
    contact = db.session.get(Contact, people[-1]) if people else None
    if contact is None or contact.erased_at is not None:
        return None, None
    return contact, queries.origin(contact_id, serial)
