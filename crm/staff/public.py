"""Sign-in by link. GET only shows a button: mail scanners open every link, and this one works once."""

from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import login_user

from crm.core import limits
from crm.core.blueprints import PublicPages
from crm.core.errors import TooMany
from crm.core.limits import Limit
from crm.staff import service

pages = PublicPages("sign_in", __name__)

TRIES_PER_MINUTE = 20  # of one network address


@pages.get("/sign-in/<token>")
def confirm(token: str) -> ResponseReturnValue:
    """Show whom the link signs in, with a button."""
    return render_template("console/staff/sign_in_link.html", user=service.LINKS.owner_of(token), token=token)


@pages.post("/sign-in/<token>")
def use(token: str) -> ResponseReturnValue:
    """Sign in. An account with two-step sign-in is still asked for its code."""
    reached = limits.hit(
        [Limit(name="sign-in", who=request.remote_addr or "", most=TRIES_PER_MINUTE, seconds=60)]
    )
    if reached is not None:
        raise TooMany("Too many attempts. Wait a minute, then try again.", retry_after=reached.retry_after)
    user = service.LINKS.use(token)
    after = url_for("console.home") if user.password else url_for("console.staff.account")
    second = current_app.extensions["security"].two_factor_plugins.tf_enter(
        user, False, "link", next_loc=after
    )
    if second is not None:
        return second  # type: ignore[no-any-return]
    login_user(user, authn_via=["link"])
    return redirect(after)
