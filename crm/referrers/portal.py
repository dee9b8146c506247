"""The portal user's own account: their passkeys."""

from flask import Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.audit import service as audit
from crm.core import current, limits
from crm.core.blueprints import PortalPages
from crm.core.errors import Conflict, NotAllowed, TooMany
from crm.core.limits import Limit
from crm.referrers import portal_session
from crm.referrers.passkeys import PASSKEYS
from crm.staff.sign_in import passkey_challenge, passkeys

pages = PortalPages("refer_account", __name__, url_prefix="/refer/account")


@pages.get("/")
@portal_session.signed_in
def show() -> ResponseReturnValue:
    """Show the account and its passkeys."""
    return _show()


def _show(refused: str = "") -> Response:
    person = portal_session.person()
    page = render_template(
        "portal/account.html",
        person=person,
        passkeys=PASSKEYS.of(person),
        most=passkeys.MOST,
        site=passkey_challenge.site(),
        refused=refused,
    )
    return make_response(page, 422 if refused else 200)


@pages.post("/passkeys/challenge")
@portal_session.signed_in
def challenge() -> ResponseReturnValue:
    """Return the options a browser needs to create a passkey."""
    person, site = portal_session.person(), passkey_challenge.site_or_404()
    reached = limits.hit([Limit(name="refer-passkey", who=str(person.id), most=20, seconds=3600)])
    if reached is not None:
        raise TooMany(
            gettext("That was a little too often. Please wait, then try again."),
            retry_after=reached.retry_after,
        )
    made = passkey_challenge.issue(PASSKEYS.adding(person), adding=True)
    name = current.settings().clinic.name
    options = PASSKEYS.add_options(person, site=site, challenge=made, clinic=name)
    return Response(options, mimetype="application/json")


@pages.post("/passkeys")
@portal_session.signed_in
def add() -> ResponseReturnValue:
    """Store the passkey that the browser created."""
    person, site = portal_session.person(), passkey_challenge.site_or_404()
    name = " ".join(request.form.get("name", "").split()) or gettext("Passkey")
    answer = request.form.get("credential", "")
    try:
        PASSKEYS.add(
            person, site=site, challenge=passkey_challenge.claim(adding=True), answer=answer, name=name
        )
    except Conflict:
        return _show(gettext("This passkey is here already, or you have as many as fit. Remove one first."))
    except NotAllowed as error:
        audit.record("portal.passkey_refused", detail={"why": error.message})
        return _show(gettext("The passkey was not added. Please try again."))
    flash(gettext("Your passkey was added. You can sign in with it from now on."), "success")
    return redirect(url_for(".show"), code=303)


@pages.post("/passkeys/<int:passkey_id>/remove")
@portal_session.signed_in
def remove(passkey_id: int) -> ResponseReturnValue:
    """Remove a passkey."""
    PASSKEYS.remove(portal_session.person(), passkey_id)
    flash(gettext("The passkey was removed. It does not sign you in any more."), "success")
    return redirect(url_for(".show"), code=303)
