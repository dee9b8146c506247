"""Console pages: alerts, staff accounts, the reader's own account, settings."""

from typing import Any

from flask import (
    Response,
    abort,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext, lazy_gettext, ngettext
from flask_security import current_user, login_user

from crm.audit import acts
from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.core import clock, current, time_zones
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.db import db
from crm.core.errors import Invalid
from crm.core.flashes import flash_with_undo
from crm.staff import access, service
from crm.staff import alerts as alert_service
from crm.staff.models import RecordScope, User
from crm.staff.one_time_links import INVITATION_LIFE
from crm.staff.sign_in import own_sessions, passkey_challenge, secret_guard, staff_session
from crm.staff.sign_in.passkeys import MOST
from crm.staff.sign_in.secret_guard import takes_secret
from crm.staff.sign_in.staff_passkeys import PASSKEYS

pages = ConsolePages(
    "staff",
    __name__,
    entries=[
        ConsoleEntry(
            label="Settings", permission="see_settings", order=80, view="settings", section="Settings"
        ),
        ConsoleEntry(label="Staff", permission="manage_staff", order=81, section="Settings"),
    ],
)

ALERTS = "alerts"  # the kind of an act on the page of alerts
SCOPES = {
    RecordScope.ALL: lazy_gettext("All leads and people"),
    RecordScope.TEAM: lazy_gettext("Those of their team and those without an owner"),
    RecordScope.OWN: lazy_gettext("Only their own"),
}


@pages.get("/staff")
@access.require("manage_staff")
def index() -> ResponseReturnValue:
    """List staff accounts, with the form to invite one."""
    return _index()


def _index(status: int = 200, **more: Any) -> Response:
    return make_response(
        render_template(
            "console/staff/index.html",
            people=service.everyone(),
            roles=access.ROLES,
            scopes=service.scopes(),
            scope_options=list(SCOPES.items()),
            **more,
        ),
        status,
    )


@pages.post("/staff")
@access.require("manage_staff")
@staff_session.fresh
def invite() -> ResponseReturnValue:
    """Create an account and email its invitation to its owner."""
    try:
        user = service.create(
            email=request.form.get("email", ""),
            name=request.form.get("name", ""),
            roles=request.form.getlist("roles"),
        )
    except Invalid as error:
        abort(_index(422, errors=error.fields, typed=request.form))
    service.mail_link(user=user, life=INVITATION_LIFE)
    flash(f"Invitation sent to {user.email}. It works once, within {INVITATION_LIFE.days} days.", "success")
    return redirect(url_for(".index"))


@pages.post("/staff/<int:user_id>/link")
@access.require("manage_staff")
@staff_session.fresh
def make_link(user_id: int) -> ResponseReturnValue:
    """Email a sign-in link to a staff member who lost a password: only the owner of the mailbox gets to see it."""
    user = service.get(user_id)
    service.mail_link(user=user)
    flash(f"Sign-in link sent to {user.email}. It works once, within 15 minutes.", "success")
    return redirect(url_for(".index"))


@pages.post("/staff/<int:user_id>/roles")
@access.require("manage_staff")
@staff_session.fresh
def roles(user_id: int) -> ResponseReturnValue:
    """Change the roles of a staff member."""
    service.set_roles(user_id=user_id, roles=request.form.getlist("roles"))
    flash("Roles saved. They apply from the next sign-in.", "success")
    return redirect(url_for(".index"))


@pages.post("/staff/<int:user_id>/team")
@access.require("manage_staff")
@staff_session.fresh
def team(user_id: int) -> ResponseReturnValue:
    """Set the team of a staff member."""
    service.set_team(user_id=user_id, team=request.form.get("team", ""))
    flash(gettext("Team saved."), "success")
    return redirect(url_for(".index"))


@pages.post("/staff/scopes")
@access.require("manage_staff")
@staff_session.fresh
def scopes() -> ResponseReturnValue:
    """Set which leads and people each role sees."""
    for role in service.scopes():
        service.set_scope(role=role, scope=request.form.get(role, ""))
    flash(gettext("Saved. It applies from the next page on."), "success")
    return redirect(url_for(".index"))


@pages.post("/staff/<int:user_id>/disable")
@access.require("manage_staff")
@staff_session.fresh
def disable(user_id: int) -> ResponseReturnValue:
    """Close an account."""
    service.disable(user_id=user_id)
    undo = {
        "text": "Account closed. Its sessions have ended.",
        "undo": url_for(".enable", user_id=user_id),
    }
    flash(undo, "success")  # type: ignore[arg-type]
    return redirect(url_for(".index"))


@pages.post("/staff/<int:user_id>/enable")
@access.require("manage_staff")
@staff_session.fresh
def enable(user_id: int) -> ResponseReturnValue:
    """Reopen an account."""
    service.enable(user_id=user_id)
    flash("Account reopened.", "success")
    return redirect(url_for(".index"))


@pages.post("/staff/<int:user_id>/second-factor")
@access.require("manage_staff")
@staff_session.fresh
def remove_two_step(user_id: int) -> ResponseReturnValue:
    """Remove the authenticator app of a staff member."""
    service.remove_two_step(user_id=user_id)
    flash("Authenticator app removed. It can be set up again after the next sign-in.", "success")
    return redirect(url_for(".index"))


@pages.get("/account")
@access.require("use_console")
def account() -> ResponseReturnValue:
    """Show the reader's own account."""
    return _account()


def _account(status: int = 200, **more: Any) -> Response:
    zones = [(name, name) for name in sorted(time_zones.NAMES)]
    user = _me()
    page = render_template(
        "console/staff/account.html",
        user=user,
        zone_options=zones,
        sessions=own_sessions.of(user.id),
        here=staff_session.here(),
        passkeys=PASSKEYS.of(user),
        most_passkeys=MOST,
        site=passkey_challenge.site(),
        **more,
    )
    return make_response(page, status)


def _me() -> User:
    return db.session.get_one(User, current_user.id)


@pages.post("/account/password")
@access.require("use_console")
@staff_session.fresh
@takes_secret("password", owner=secret_guard.me)
def set_password() -> ResponseReturnValue:
    """Set the reader's password; other devices are signed out."""
    user = _me()
    if user.password and not user.verify_and_update_password(request.form.get("current", "")):
        abort(_account(422, errors={"current": ["This is not your current password."]}))
    secret_guard.accepted()
    begun_by = staff_session.here().begun_by
    try:
        service.set_password(user=user, password=request.form.get("password", ""))
    except Invalid as error:
        abort(_account(422, errors=error.fields))
    db.session.flush()
    staff_session.first_step("password", begun_by=begun_by)
    login_user(user, authn_via=["password"])
    flash("Password saved. Other devices are signed out.", "success")
    return redirect(url_for(".account"))


@pages.post("/account/time-zone")
@access.require("use_console")
def set_time_zone() -> ResponseReturnValue:
    """Set the time zone in which the reader sees times."""
    try:
        service.set_time_zone(user=_me(), zone=request.form.get("time_zone", ""))
    except Invalid as error:
        abort(_account(422, errors=error.fields))
    flash("Time zone saved.", "success")
    return redirect(url_for(".account"))


@pages.post("/account/alert-emails")
@access.require("see_settings")
def set_alert_emails() -> ResponseReturnValue:
    """Turn the reader's emails about alerts on or off."""
    wanted = request.form.get("alert_emails") == "yes"
    service.set_alert_emails(user=_me(), wanted=wanted)
    flash(
        "You will get emails about alerts." if wanted else "You will not get emails about alerts.", "success"
    )
    return redirect(url_for(".account"))


@pages.get("/alerts")
@access.require("use_console")
def alerts() -> ResponseReturnValue:
    """List alerts, open ones first."""
    return render_template(
        "console/staff/alerts.html",
        groups=alert_service.groups(),
        past=alert_service.closed_lately(),
        now=clock.now(),
    )


@pages.post("/alerts/<int:alert_id>/close")
@access.require("close_alerts")
def close_alert(alert_id: int) -> ResponseReturnValue:
    """Close one alert."""
    with acts.begin(ALERTS) as act:
        alert_service.close_one(alert_id)
    return _done(gettext("Alert closed."), act)


def _done(text: str, act: StaffAct) -> ResponseReturnValue:
    flash_with_undo(text, undo=url_for(".undo_alerts", act_id=act.id))
    return redirect(url_for(".alerts"))


@pages.post("/alerts/undo/<int:act_id>")
@access.require("close_alerts")
def undo_alerts(act_id: int) -> ResponseReturnValue:
    """Undo what the reader did with alerts: they stand as before, with the work that closing a crisis resumed."""
    acts.undo(act_id, kinds=(ALERTS,))
    flash(gettext("Undone."), "success")
    return redirect(url_for(".alerts"))


@pages.post("/alerts/kinds/<kind>/take")
@access.require("close_alerts")
def assign_alerts(kind: str) -> ResponseReturnValue:
    """Assign all open alerts of a kind to the reader."""
    with acts.begin(ALERTS) as act:
        alert_service.assign_all(kind=kind, owner_id=current_user.id)
    return _done(gettext("Assigned to you."), act)


@pages.post("/alerts/kinds/<kind>/close")
@access.require("close_alerts")
def close_alerts(kind: str) -> ResponseReturnValue:
    """Close all open alerts of a kind."""
    with acts.begin(ALERTS) as act:
        number = alert_service.close_all(kind)
    return _done(ngettext("%(num)s alert closed.", "%(num)s alerts closed.", number), act)


@pages.get("/settings")
@access.require("see_settings")
def settings() -> ResponseReturnValue:
    """Show the settings of this installation, without secrets. They are changed in the environment."""
    found = current.settings()
    audit.record("settings.view")
    return render_template(
        "console/staff/settings.html", settings=found, permissions=access.PERMISSIONS, roles=access.ROLES
    )
