"""Signing in by a link. GET only shows a button: scanners open every link, and this one works once."""

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
def show(token: str) -> ResponseReturnValue:
    """Show whom the link signs in, with a button."""
    return render_template("console/staff/sign_in_link.html", user=service.LINKS.owner_of(token), token=token)


@pages.post("/sign-in/<token>")
def use(token: str) -> ResponseReturnValue:
    """Sign in. A second factor, where there is one, is asked for all the same."""
    reached = limits.hit(
        [Limit(name="sign-in", who=request.remote_addr or "", most=TRIES_PER_MINUTE, seconds=60)]
    )
    if reached is not None:
        raise TooMany("That was a little too often. Please wait a minute.", retry_after=reached.retry_after)
    user = service.LINKS.use(token)
    after = url_for("console.home") if user.password else url_for("console.staff.account")
    second = current_app.extensions["security"].two_factor_plugins.tf_enter(
        user, False, "link", next_loc=after
    )
    if second is not None:
        return second  # type: ignore[no-any-return]
    login_user(user, authn_via=["link"])
    return redirect(after)
