"""How the pages behind the links in our emails are shown: in whose language, and with which headers."""

from typing import Any

from flask import Response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import force_locale

from crm.consent.preferences import LANGUAGES
from crm.consent.texts import PAGES, TOPICS
from crm.contacts.models import Contact
from crm.core import current
from crm.core.config import Clinic

HOMES = {"c": "consent.confirm", "u": "consent.stop", "p": "consent.choose"}


def keep_private(response: Response) -> Response:
    """The link is a key: it goes into no cache, no search engine and no other site's log."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


def notice(about: str, contact: Contact | None, *, status: int = 200, **facts: object) -> ResponseReturnValue:
    return show("notice", contact, status, about=about, **facts)


def show(page: str, contact: Contact | None, status: int = 200, **facts: object) -> ResponseReturnValue:
    language = language_of(contact)
    home, token = HOMES[request.path.split("/")[1]], (request.view_args or {})["token"]
    with force_locale(language):
        text = render_template(
            f"public/{page}.html",
            words=PAGES[language],
            topics=TOPICS[language],
            lang=language,
            languages=[
                {"code": code, "label": label, "href": url_for(home, token=token, lang=code)}
                for code, label in LANGUAGES.items()
            ],
            kept=kept_language(),
            clinic=_clinic(),
            **facts,
        )
    return text, status


def _clinic() -> Clinic:
    clinic: Clinic = current.settings().clinic
    return clinic


def kept_language() -> dict[str, Any]:
    """What to add to our own links so that the language chosen on the page stays."""
    asked = request.args.get("lang", "")
    return {"lang": asked} if asked in LANGUAGES else {}


def language_of(contact: Contact | None) -> str:
    """What the reader chose on the page, else what we know of them, else what their browser asks for."""
    asked = request.args.get("lang", "")
    if asked in LANGUAGES:
        return asked
    if contact is not None and contact.language in LANGUAGES:
        return contact.language
    return request.accept_languages.best_match(list(LANGUAGES)) or "en"
