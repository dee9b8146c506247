"""Pages and endpoints without sign-in: those of features, and the home page, notices, health and metrics."""

from collections.abc import Sequence

from flask import Flask
from flask_wtf import CSRFProtect

from crm.core.blueprints import CsrfCheck, PublicPages
from crm.ops import health, metrics
from crm.web import discovery, home, notices

OWN = (home.pages, notices.pages, health.pages, metrics.pages)


def all_pages() -> Sequence[PublicPages]:
    """Return every Blueprint that is open to everybody."""
    return (*discovery.find_blueprints("public", PublicPages), *OWN)


def init_public(app: Flask, csrf: CSRFProtect) -> None:
    """Add the public pages to the app, each with the CSRF check that it declares."""
    for pages in all_pages():
        app.register_blueprint(pages)
        if pages.csrf is not CsrfCheck.APP:
            csrf.exempt(pages)
