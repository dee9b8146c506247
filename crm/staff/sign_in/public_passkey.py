"""Sign-in of staff by passkey. A passkey that verifies its owner is both steps at once (NIST SP 800-63B-4)."""

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import login_user

from crm.audit import service as audit
from crm.core import limits
from crm.core.blueprints import PublicPages
from crm.core.errors import NotAllowed, TooMany
from crm.core.limits import Limit
from crm.staff import redirects
from crm.staff.sign_in import passkey_challenge, secret_guard, staff_session
from crm.staff.sign_in.secret_guard import takes_secret
from crm.staff.sign_in.staff_passkeys import PASSKEYS

pages = PublicPages("staff_passkey", __name__, url_prefix="/sign-in/passkey")


@pages.post("/challenge")
def challenge() -> ResponseReturnValue:
    """Return the options a browser needs to sign in, or to confirm, with a passkey."""
    site, address = passkey_challenge.site_or_404(), request.remote_addr or ""
    reached = limits.hit([Limit(name="staff-passkey", who=address, most=60, seconds=600)])
    if reached is not None:
        raise TooMany(
            gettext("Too many attempts. Wait a minute, then try again."), retry_after=reached.retry_after
        )
    made = passkey_challenge.issue(PASSKEYS.sign_in_purpose())
    return Response(PASSKEYS.sign_in_options(site=site, challenge=made), mimetype="application/json")


@pages.post("")
@takes_secret("passkey")
def enter() -> ResponseReturnValue:
    """Sign in with a passkey. The audit log has the reason of a refusal; the page does not."""
    site, answer = passkey_challenge.site_or_404(), request.form.get("credential", "")
    try:
        user = PASSKEYS.sign_in(site=site, challenge=passkey_challenge.claim(), answer=answer)
    except NotAllowed as error:
        audit.record("staff.passkey_refused", detail={"why": error.message})
        flash(gettext("This passkey does not sign you in. Try again, or use your password."), "error")
        return redirect(url_for("security.login"), code=303)
    secret_guard.accepted()
    secret_guard.end_half()
    staff_session.first_step("passkey")
    login_user(user, authn_via=["passkey"])
    return redirect(redirects.safe_path(request.args.get("next", "")) or url_for("console.home"), code=303)
