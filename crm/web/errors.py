"""Error handlers: from an exception to a status and a sentence for the reader, without technical detail."""

import traceback
from collections.abc import Mapping

import structlog
from flask import Flask, Response, current_app, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext, lazy_gettext
from flask_wtf.csrf import CSRFError
from jinja2 import TemplateNotFound
from psycopg.errors import UntranslatableCharacter
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable

from crm.core.errors import Conflict, Invalid, Refusal, TooMany
from crm.web import api

log = structlog.get_logger()

JSON_ADDRESSES = ("/api/", "/webhooks/", "/health/")

WORDS: Mapping[int, str] = {
    400: lazy_gettext("We could not read what was sent. Please go back and try again."),
    403: lazy_gettext("You don’t have access to this page."),
    404: lazy_gettext("There is no page at this address."),
    405: lazy_gettext("This address does not work that way. Please go back and try again."),
    409: lazy_gettext("This was changed in the meantime. Load the page again."),
    413: lazy_gettext("What was sent is too long."),
    429: lazy_gettext("That was a little too often. Please wait, then try again."),
    500: lazy_gettext("Something went wrong on our side. Nothing was lost; please try again."),
    503: lazy_gettext("We cannot take anything in at this moment. Please try again in a minute."),
}
CHANGED = "This was changed in the meantime, or it already exists. Load the page again."


def register_error_handlers(app: Flask) -> None:
    """Answer every error of `app`: JSON for other systems, a page for people."""
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(CSRFError, _expired)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(IntegrityError, _clash)
    app.register_error_handler(StaleDataError, _clash)
    app.register_error_handler(OperationalError, _away)
    app.register_error_handler(DataError, _unstorable)
    app.register_error_handler(Exception, _unexpected)


def _for_machines() -> bool:
    return request.path.startswith(JSON_ADDRESSES)


def _refused(error: Refusal) -> ResponseReturnValue:
    if _for_machines():
        return api.error_response(error)
    if isinstance(error, Conflict | Invalid) and (back := _came_from()):
        flash(_said(error), "error")
        return redirect(back)
    status = api.status_of(error)
    page = _page(status, _said(error))
    if isinstance(error, TooMany):
        page.headers["Retry-After"] = str(error.retry_after)
    return page


def _said(error: Refusal) -> str:
    if isinstance(error, Invalid):
        return " ".join(text for texts in error.fields.values() for text in texts) or error.message
    return error.message


def _came_from() -> str | None:
    """Return the console page whose form was sent, so that its reader stays there."""
    before = request.referrer or ""
    inside = request.host_url + "console/"
    return before if request.method == "POST" and before.startswith(inside) else None


def _expired(_error: CSRFError) -> ResponseReturnValue:
    return _page(
        400,
        gettext(
            "This page had been open for too long. Please go back, load it again and repeat the last step."
        ),
    )


def _http(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.response is not None or error.code < 400:
        return error.get_response()
    if _for_machines():
        return api.error_response(error)
    page = _page(error.code, str(WORDS.get(error.code) or WORDS[500 if error.code >= 500 else 400]))
    page.headers.extend([item for item in error.get_headers() if item[0] in ("Allow", "Retry-After")])
    return page


def _clash(error: Exception) -> ResponseReturnValue:
    diag = getattr(getattr(error, "orig", None), "diag", None)
    log.warning("request.clash", kind=type(error).__name__, constraint=getattr(diag, "constraint_name", None))
    return _refused(Conflict(CHANGED))


def _away(error: OperationalError) -> ResponseReturnValue:
    """Answer 503 with a time to retry: PostgreSQL is unreachable, full or stopped."""
    log.error("database.away", kind=type(error.orig).__name__)
    return _http(ServiceUnavailable(retry_after=60))


def _unstorable(error: DataError) -> ResponseReturnValue:
    """Answer 400 to a zero byte: PostgreSQL stores none in text or JSON, and no browser sends one."""
    zero = isinstance(error.orig, UntranslatableCharacter) or "NUL" in str(error.orig)
    return _http(BadRequest()) if zero else _unexpected(error)


def _unexpected(error: Exception) -> ResponseReturnValue:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    if isinstance(error, RecursionError) and last and last[0].filename.endswith("json/decoder.py"):
        return _http(BadRequest())  # JSON nested thousands deep
    if current_app.testing:
        raise error
    place = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in last]
    rule = request.url_rule.rule if request.url_rule else None
    log.error("request.failed", kind=type(error).__name__, place=place[0] if place else None, address=rule)
    return api.error_response(error) if _for_machines() else _page(500, str(WORDS[500]))


def _page(status: int, message: str) -> Response:
    text = _render(status, message)
    return Response(text, status, mimetype="text/html")


def _render(status: int, message: str) -> str:
    try:
        return render_template([f"errors/{status}.html", "errors/error.html"], status=status, message=message)
    except TemplateNotFound:
        raise
    except Exception as error:
        log.error("error_page.failed", kind=type(error).__name__)
        return f"<!doctype html><title>{status}</title><p>{message}</p>"
