"""Page language: English or Spanish."""

from flask import Flask, Response, current_app, g, has_request_context, request
from flask_babel import Babel, get_locale

from crm.web import translations

LANGUAGES = ("en", "es")
COOKIE = "lang"
ENGLISH = ("console", "security")  # blueprints for staff, in English for now


def init_locale(app: Flask) -> None:
    """Choose a language for every request; keep one chosen by address (`?lang=es`) in a cookie."""
    translations.compile_stale()
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(translations.FOLDER)
    Babel(app, locale_selector=chosen)
    app.after_request(_remember)
    app.context_processor(lambda: {"lang": str(get_locale() or "en")})


def chosen() -> str:
    """Return `en` or `es`: from the address, else the person's preference, the cookie, the browser."""
    if not has_request_context() or (request.blueprint or "").split(".")[0] in ENGLISH:
        return "en"
    for language in (request.args.get("lang"), g.get("language"), request.cookies.get(COOKIE)):
        if language in LANGUAGES:
            return str(language)
    return request.accept_languages.best_match(list(LANGUAGES)) or "en"


def _remember(response: Response) -> Response:
    chosen_now = request.args.get("lang")
    if chosen_now in LANGUAGES and request.cookies.get(COOKIE) != chosen_now:
        response.set_cookie(
            COOKIE,
            chosen_now,
            max_age=365 * 24 * 3600,
            httponly=True,
            samesite="Lax",
            secure=current_app.config["SESSION_COOKIE_SECURE"],
        )
    return response
