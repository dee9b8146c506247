"""View helpers of the email link pages: language and privacy headers."""

from typing import Any

from flask import Response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import force_locale

from crm.consent.preferences import LANGUAGES
from crm.consent.texts import PAGES, TOPICS
from crm.contacts.models import Contact
from crm.core import current
from crm.core.config import Clinic

HOMES = {"c": "consent.confirm", "u": "consent.stop", "p": "consent.choose", "a": "answers.show_answers"}


def add_privacy_headers(response: Response) -> Response:
    """Keep the link, which grants access, out of caches, search engines and other sites' logs."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


def render_notice(
    about: str, contact: Contact | None, *, status: int = 200, **facts: object
) -> ResponseReturnValue:
    return render_page("notice", contact, status, about=about, **facts)


def render_page(
    page: str, contact: Contact | None, status: int = 200, **facts: object
) -> ResponseReturnValue:
    language = reader_language(contact)
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
            kept=language_param(),
            clinic=_clinic(),
            **facts,
        )
    return text, status


def _clinic() -> Clinic:
    clinic: Clinic = current.settings().clinic
    return clinic


def language_param() -> dict[str, Any]:
    """Return the query parameters that keep the language chosen on the page."""
    asked = request.args.get("lang", "")
    return {"lang": asked} if asked in LANGUAGES else {}


def reader_language(contact: Contact | None) -> str:
    """Return the language chosen on the page, else the contact's, else the browser's."""
    asked = request.args.get("lang", "")
    if asked in LANGUAGES:
        return asked
    if contact is not None and contact.language in LANGUAGES:
        return contact.language
    return request.accept_languages.best_match(list(LANGUAGES)) or "en"
