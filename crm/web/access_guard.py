"""Access guard: the check of every request. A page is public, or needs an API key, a portal session or a permission.

An endpoint that is neither public nor names a permission is refused: a forgotten guard closes a page, it opens none.
"""

from collections.abc import Iterable
from contextlib import ExitStack

from flask import Flask, Response, current_app, flash, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_security import current_user, logout_user

from crm.audit import service as audit
from crm.core import row_scope
from crm.core.db import transaction
from crm.core.errors import NotAllowed
from crm.desk.record_access import record_scope
from crm.referrers import portal_session
from crm.staff import access, sessions
from crm.staff.sign_in import secret_guard, staff_session

OPEN = frozenset({"static", "bootstrap.static", "security.static", "api-docs.openapi_json"})
"""Endpoints for everybody that belong to no Blueprint of public pages."""

SIGN_IN = frozenset({
    "security.login", "security.logout", "security.two_factor_token_validation", "security.two_factor_setup",
    "security.two_factor_rescue", "security.verify", "security.mf_recovery", "security.mf_recovery_codes",
    "security.two_factor_setup_validate", "security.tf_select",
})  # fmt: skip
"""Pages of signing in; flask-security guards those of them that need a session."""


def init_guard(app: Flask, *, public: Iterable[str]) -> None:
    """Check every request of `app`. `public`: names of blueprints that are open to everybody."""
    app.extensions["public_blueprints"] = frozenset(public)
    app.before_request(_name_actor)
    app.before_request(_check)
    app.after_request(_finish)
    app.teardown_request(_forget_actor)


def kind_of(app: Flask, endpoint: str) -> str | None:
    """Return what an endpoint needs: "public", "sign-in", "key", "referrer", a permission, or None: it opens to nobody."""
    view = app.view_functions[endpoint]
    if hasattr(view, "api_scope"):
        return "key"
    if hasattr(view, "portal"):
        return "referrer"
    if permission := getattr(view, "permission", None):
        return str(permission)
    if endpoint in SIGN_IN:
        return "sign-in"
    if endpoint in OPEN or endpoint.split(".")[0] in app.extensions["public_blueprints"]:
        return "public"
    return None


def _name_actor() -> None:
    user = current_user if session.get("_user_id") else None
    stack = g.acting = ExitStack()
    actor = f"staff:{user.id}" if user is not None and user.is_authenticated else "public"
    stack.enter_context(audit.acting(actor, address=request.remote_addr))


def _forget_actor(_error: BaseException | None) -> None:
    if stack := g.pop("acting", None):
        stack.close()


def _check() -> ResponseReturnValue | None:
    if request.endpoint is None:
        return None  # not found
    kind = kind_of(current_app, request.endpoint)
    if kind is not None:
        secret_guard.begin(current_app.view_functions[request.endpoint])
    if kind in ("public", "key"):  # views with an API key check it themselves
        return None
    if kind == "referrer":
        return portal_session.check(g.acting)
    return _check_staff(kind)


def _finish(response: Response) -> Response:
    """Record a failed try at a secret, and tell the owner of the account what was done."""
    if request.endpoint is None:
        return response
    response = secret_guard.finish(response)
    staff_session.finish(current_app.view_functions[request.endpoint], response)
    return response


def _ended() -> str | None:
    """Return why the session of the signed-in member of staff has ended; None while it lasts."""
    if not current_user.is_authenticated:
        return None
    why = sessions.ended(session, browser=request.user_agent.string)
    return why or (
        None if staff_session.load() else "You were signed out on another device. Please sign in again."
    )


def _check_staff(kind: str | None) -> ResponseReturnValue | None:
    if why := _ended():
        logout_user()
        flash(why, "info")
        return redirect(_sign_in())
    sessions.touch(session)
    if kind == "sign-in":
        return None
    if not current_user.is_authenticated:
        return redirect(_sign_in())
    _require_permission(kind)
    g.acting.enter_context(row_scope.limited(record_scope.conditions(current_user)))
    return staff_session.check(current_app.view_functions[str(request.endpoint)])


def _require_permission(kind: str | None) -> None:
    if kind is None or not access.has_permission((role.name for role in current_user.roles), kind):
        with transaction():
            audit.record("access.refused", detail={"endpoint": request.endpoint})
        raise NotAllowed("Your role does not open this page. An administrator can change that.")


def _sign_in() -> str:
    return url_for("security.login", next=request.full_path.rstrip("?") if request.method == "GET" else None)
