"""The front door: where a patient, a referrer and a member of staff go from here."""

from flask import Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from crm.core.blueprints import PublicPages

pages = PublicPages("home", __name__)


@pages.get("/")
def home() -> ResponseReturnValue:
    """Three ways in, in the visitor's language."""
    return render_template("public/home.html")


@pages.get("/robots.txt")
def robots() -> ResponseReturnValue:
    """Search engines may read what is written for the public, and nothing behind a link, a door or a form's answer."""
    lines = [
        "User-agent: *",
        *(f"Allow: {path}" for path in ("/$", "/contact$", "/contacto$", "/education$", "/static/")),
        "Disallow: /",
    ]
    return Response("\n".join(lines) + "\n", mimetype="text/plain")


@pages.get("/favicon.ico")
def icon() -> ResponseReturnValue:
    """Where browsers look for the icon when a page names none."""
    return redirect(url_for("static", filename="icon.svg"), 301)
