"""The web edge: pages of every audience, the API, headers, languages, errors. `init_web` adds them to an app."""

import time
from typing import TYPE_CHECKING

import structlog
from flask import Response, g, request
from flask_bootstrap import Bootstrap5
from flask_wtf import CSRFProtect
from werkzeug.routing import IntegerConverter

from crm.core import current
from crm.staff.sign_in import setup as sign_in
from crm.web import access_guard, api, console, errors, headers, language, portal, public, template_filters

if TYPE_CHECKING:
    from crm.core.config import Settings
    from crm.core.flask_app import CrmApp

log = structlog.get_logger()


class Number(IntegerConverter):
    """A whole number in an address, at most as long as a column can hold: a longer one is not found."""

    regex = r"\d{1,18}"


def init_web(app: "CrmApp", settings: "Settings") -> None:
    """Add every page and endpoint to the app."""
    app.config.update(
        SESSION_COOKIE_NAME="__Host-session" if settings.secure else "session",
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        WTF_CSRF_SSL_STRICT=False,  # we tell browsers to send no referrer; the token and SameSite do the work
    )
    app.url_map.converters["int"] = Number
    app.before_request(_start)
    app.after_request(_log)
    headers.init_headers(app, https=settings.secure)
    Bootstrap5(app)
    template_filters.register(app)
    language.init_locale(app)
    # before the check of form tokens, which reads the body: a stranger's large file is refused unread
    access_guard.init_guard(app, public=[pages.name for pages in public.all_pages()])
    csrf = CSRFProtect(app)
    sign_in.init_sign_in(app, settings)
    public.init_public(app, csrf)
    portal.init_portal(app)
    api.init_api(app, csrf)
    console.init_console(app)
    errors.register_error_handlers(app)
    app.context_processor(_clinic)


def _clinic() -> dict[str, object]:
    settings = current.settings()
    return {"clinic": settings.clinic, "clinic_logo": settings.clinic_logo}


def _start() -> None:
    g.started = time.perf_counter()


def _log(response: Response) -> Response:
    """Log one line per request: the URL rule, never the address, which may contain a token or a name."""
    if request.endpoint not in ("static", "bootstrap.static"):
        log.info(
            "request",
            method=request.method,
            rule=request.url_rule.rule if request.url_rule else None,
            status=response.status_code,
            ms=round((time.perf_counter() - g.get("started", time.perf_counter())) * 1000),
        )
    return response
