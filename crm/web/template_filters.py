"""Template filters, and compression of styles and scripts."""

import gzip
from datetime import datetime, tzinfo
from functools import lru_cache
from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

from flask import Flask, Response, current_app, g, request
from flask_babel import format_date, get_locale

from crm.core import clock, current
from crm.web import formatting

_SMALLER = ("text/css", "text/javascript", "application/javascript", "image/svg+xml")


def register(app: Flask) -> None:
    """Add the filters and the compression of static files to the app."""
    app.add_template_filter(_local, "local")
    app.add_template_filter(_spoken, "spoken")
    app.add_template_filter(lambda day: format_date(day, "medium"), "day")
    app.add_template_filter(lambda at: at.isoformat(), "iso")
    app.add_template_filter(formatting.city, "city")
    app.add_template_filter(lambda value: formatting.thousands(value, language=_language()), "thousands")
    app.add_template_filter(formatting.nice_ceiling, "nice_ceiling")
    app.add_template_filter(formatting.phone, "phone")
    app.add_template_filter(_isolated, "bdi")
    app.after_request(_send_small)


def _language() -> str:
    locale = get_locale()
    return locale.language if locale else "en"


def _zone() -> tzinfo:
    """Return the reader's zone: `g.reader_zone` where it is set, else the clinic's."""
    name = g.get("reader_zone")
    return ZoneInfo(name) if name else current.settings().clinic.zone


def _local(at: datetime, style: str = "short") -> str:
    return formatting.local(at, zone=_zone(), now=clock.now(), style=style, language=_language())


def _spoken(at: datetime, theirs: str | None = None) -> str:
    return formatting.spoken(at, zone=_zone(), theirs=theirs, language=_language())


class _Html(str):
    """Text that is HTML already; templates do not escape it."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def _isolated(name: str | None) -> _Html:
    """Return a name that turns nothing around it: one in Hebrew or Arabic is read from the right, the page is not."""
    return _Html(f"<bdi>{escape(str(name or ''))}</bdi>")


def _send_small(response: Response) -> Response:
    """Gzip styles and scripts. HTML is not compressed (BREACH)."""
    if (
        response.status_code != 200
        or response.mimetype not in _SMALLER
        or not request.accept_encodings.quality("gzip")
        or request.endpoint not in ("static", "bootstrap.static")
    ):
        return response
    app = current_app
    folder = (
        app.blueprints["bootstrap"].static_folder
        if request.endpoint == "bootstrap.static"
        else app.static_folder
    )
    path = Path(folder or "") / (request.view_args or {})["filename"]
    response.close()  # the file that would have been sent
    response.direct_passthrough = False
    response.set_data(_squeezed(path, path.stat().st_mtime))
    response.content_encoding = "gzip"
    response.vary.add("Accept-Encoding")
    return response


@lru_cache(maxsize=64)
def _squeezed(path: Path, changed: float) -> bytes:  # noqa: ARG001 (a new time is a new entry)
    return gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)
