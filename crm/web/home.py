"""Home page: links for patients, practices and staff."""

from flask import Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from crm.core.blueprints import PublicPages

pages = PublicPages("home", __name__)


@pages.get("/")
def home() -> ResponseReturnValue:
    """Links to the contact form, the portal and the console, in the visitor's language."""
    return render_template("public/home.html")


@pages.get("/robots.txt")
def robots() -> ResponseReturnValue:
    """Let search engines read public pages only: nothing behind a token, a sign-in or a form."""
    lines = [
        "User-agent: *",
        *(f"Allow: {path}" for path in ("/$", "/contact$", "/contacto$", "/education$", "/static/")),
        "Disallow: /",
    ]
    return Response("\n".join(lines) + "\n", mimetype="text/plain")


@pages.get("/favicon.ico")
def icon() -> ResponseReturnValue:
    """Redirect to the icon: browsers request this address when a page names none."""
    return redirect(url_for("static", filename="icon.svg"), 301)
