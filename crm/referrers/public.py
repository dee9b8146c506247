"""The portal's entrance: ask for a link, sign in with it. The same answer for known and unknown addresses."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _

from crm import limits
from crm.contacts import rules as contacts
from crm.contacts.rules import Unfit
from crm.errors import TooMany
from crm.limits import Limit
from crm.referrers import door, people

pages = Blueprint("refer_in", __name__)

BAD_EMAIL = _("Enter an email address, such as name@practice.example.")


def _slow(name: str, *, most: int, seconds: int, who: str | None = None) -> bool:
    """Tell whether a limit is reached, of this network address or of `who`."""
    limit = Limit(name=name, who=who or request.remote_addr or "", most=most, seconds=seconds)
    return limits.hit([limit]) is not None


def _refuse_floods() -> None:
    if _slow("portal-door", most=20, seconds=600):
        raise TooMany(str(_("That was a little too often. Please wait, then try again.")), retry_after=600)


@pages.get("/refer/sign-in")
def ask() -> ResponseReturnValue:
    """Ask for the email address to send a link to."""
    if door.who() is not None:
        return redirect(url_for("refer.home"))
    return render_template("portal/sign_in.html", errors={}, email="")


@pages.post("/refer/sign-in")
def send() -> ResponseReturnValue:
    """Send a link, where the address has an account; say the same in any case."""
    _refuse_floods()
    typed = request.form.get("email", "")
    try:
        email = contacts.clean_email(typed)
    except Unfit:
        page = render_template("portal/sign_in.html", errors={"email": str(BAD_EMAIL)}, email=typed[:300])
        return page, 422
    if not _slow("portal-address", most=5, seconds=3600, who=email):
        people.ask_link(email)
    return redirect(url_for(".sent"), code=303)


@pages.get("/refer/sign-in/sent")
def sent() -> ResponseReturnValue:
    """Say where to look for the link."""
    return render_template("portal/sign_in_sent.html")


@pages.get("/refer/in/<token>")
def confirm(token: str) -> ResponseReturnValue:
    """Show a button: scanners open every link, and this one works once."""
    return render_template("portal/sign_in_link.html", person=people.link_owner(token), token=token)


@pages.post("/refer/in/<token>")
def enter(token: str) -> ResponseReturnValue:
    """Sign in."""
    _refuse_floods()
    door.begin(people.use_link(token))
    return redirect(url_for("refer.home"), code=303)
