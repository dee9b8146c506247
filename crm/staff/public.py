"""Sign-in by link, and the link by email. GET only shows a button: mail scanners open every link, and this one works once."""

from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import login_user

from crm.core import limits
from crm.core.blueprints import PublicPages
from crm.core.errors import TooMany
from crm.core.limits import Limit
from crm.staff import service
from crm.staff.sign_in import secret_guard, staff_session
from crm.staff.sign_in.secret_guard import takes_secret

pages = PublicPages("sign_in", __name__)


@pages.get("/sign-in/link")
def request_link() -> ResponseReturnValue:
    """Show the form for the email address to send a link to."""
    return render_template("security/request_link.html")


@pages.post("/sign-in/link")
def send_link() -> ResponseReturnValue:
    """Email a link if the address has an account; answer the same in any case (account enumeration)."""
    email, address = request.form.get("email", "").strip().lower()[:320], request.remote_addr or ""
    reached = limits.hit([Limit(name="staff-link", who=address, most=20, seconds=600)])
    if reached is not None:
        raise TooMany(
            "Too many attempts. Wait a few minutes, then try again.", retry_after=reached.retry_after
        )
    if limits.hit([Limit(name="staff-link-to", who=email, most=5, seconds=3600)]) is None:
        service.ask_link(email)
    return render_template("security/link_sent.html")


@pages.get("/sign-in/<token>")
@takes_secret("link", methods=("GET",))
def confirm(token: str) -> ResponseReturnValue:
    """Show whom the link signs in, with a button."""
    user = service.LINKS.owner_of(token)
    secret_guard.accepted()
    return render_template("console/staff/sign_in_link.html", user=user, token=token)


@pages.post("/sign-in/<token>")
@takes_secret("link")
def use(token: str) -> ResponseReturnValue:
    """Sign in. An account with two-step sign-in is still asked for its code."""
    user, made_by = service.use_link(token)
    secret_guard.accepted()
    staff_session.first_step("link", begun_by=made_by)
    after = url_for("console.home") if user.password else url_for("console.staff.account")
    second = current_app.extensions["security"].two_factor_plugins.tf_enter(
        user, False, "link", next_loc=after
    )
    if second is not None:
        return second  # type: ignore[no-any-return]
    login_user(user, authn_via=["link"])
    return redirect(after)
