"""Portal sign-in by emailed link or passkey.

Known and unknown addresses get the same answer, so nobody can probe for accounts (account enumeration).
"""

from collections.abc import Mapping

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _

from crm.audit import service as audit
from crm.contacts import rules as contacts
from crm.contacts.rules import InvalidValue
from crm.core import limits
from crm.core.blueprints import PublicPages
from crm.core.errors import NotAllowed, TooMany
from crm.core.limits import Limit
from crm.referrers import accounts, portal_session
from crm.referrers.passkeys import PASSKEYS
from crm.staff.sign_in import passkey_challenge, secret_guard
from crm.staff.sign_in.secret_guard import takes_secret

pages = PublicPages("refer_in", __name__)

BAD_PASSKEY = _("This passkey does not sign you in. Try again, or use a link by email.")
BAD_EMAIL = _("Enter an email address, such as name@practice.example.")


def _slow(name: str, *, most: int, seconds: int, who: str | None = None) -> bool:
    """Tell whether this network address, or `who`, has reached a limit."""
    limit = Limit(name=name, who=who or request.remote_addr or "", most=most, seconds=seconds)
    return limits.hit([limit]) is not None


def _refuse_floods() -> None:
    if _slow("portal-sign-in", most=20, seconds=600):
        raise TooMany(str(_("That was a little too often. Please wait, then try again.")), retry_after=600)


@pages.get("/refer/sign-in")
def request_link() -> ResponseReturnValue:
    """Show the form for the email address to send a link to."""
    if portal_session.who() is not None:
        return redirect(url_for("refer.home"))
    return _page()


def _page(*, errors: Mapping[str, str] | None = None, email: str = "", refused: str = "") -> str:
    return render_template(
        "portal/sign_in.html",
        errors=errors or {},
        email=email,
        refused=refused,
        site=passkey_challenge.site(),
    )


@pages.post("/refer/sign-in")
def send() -> ResponseReturnValue:
    """Send a link if the address has an account; answer the same in any case."""
    _refuse_floods()
    typed = request.form.get("email", "")
    try:
        email = contacts.clean_email(typed)
    except InvalidValue:
        return _page(errors={"email": str(BAD_EMAIL)}, email=typed[:300]), 422
    if not _slow("portal-address", most=5, seconds=3600, who=email):
        accounts.ask_link(email)
    return redirect(url_for(".sent"), code=303)


@pages.get("/refer/sign-in/sent")
def sent() -> ResponseReturnValue:
    """Show where to look for the link."""
    return render_template("portal/sign_in_sent.html")


@pages.get("/refer/in/<token>")
@takes_secret("link", methods=("GET",))
def confirm(token: str) -> ResponseReturnValue:
    """Show a button: scanners open every link, and this one works once."""
    person = accounts.LINKS.owner_of(token)
    secret_guard.accepted()
    return render_template("portal/sign_in_link.html", person=person, token=token)


@pages.post("/refer/in/<token>")
@takes_secret("link")
def enter(token: str) -> ResponseReturnValue:
    """Sign in."""
    person = accounts.use_link(token)
    secret_guard.accepted()
    portal_session.begin(person)
    return redirect(url_for("refer.home"), code=303)


@pages.post("/refer/sign-in/passkey/challenge")
def challenge() -> ResponseReturnValue:
    """Return the options a browser needs to sign in with a passkey."""
    _refuse_floods()
    options = PASSKEYS.sign_in_options(
        site=passkey_challenge.site_or_404(), challenge=passkey_challenge.issue(PASSKEYS.sign_in_purpose())
    )
    return Response(options, mimetype="application/json")


@pages.post("/refer/sign-in/passkey")
@takes_secret("passkey")
def enter_by_passkey() -> ResponseReturnValue:
    """Sign in with a passkey. The audit log has the reason of a refusal; the page does not."""
    site, answer = passkey_challenge.site_or_404(), request.form.get("credential", "")
    try:
        person = PASSKEYS.sign_in(site=site, challenge=passkey_challenge.claim(), answer=answer)
    except NotAllowed as error:
        audit.record("portal.passkey_refused", detail={"why": error.message})
        return _page(refused=str(BAD_PASSKEY)), 422
    secret_guard.accepted()
    accounts.signed_in(person)
    portal_session.begin(person)
    return redirect(url_for("refer.home"), code=303)
