"""The session of the signed-in member of staff: how it began, and what it must confirm before a sensitive act."""

import time
import unicodedata
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, Response, g, make_response, render_template, request, session
from flask_babel import gettext
from flask_babel import lazy_gettext as _
from flask_security import current_user

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db, transaction
from crm.core.errors import NotAllowed
from crm.staff import sessions
from crm.staff.models import StaffSession, User
from crm.staff.sign_in import notices, own_sessions, passkey_challenge, secret_guard
from crm.staff.sign_in.secret_guard import Place
from crm.staff.sign_in.staff_passkeys import PASSKEYS

View = TypeVar("View", bound=Callable[..., Any])

FRESH = 300  # seconds after signing in or confirming

_KEY, _FIRST, _CONFIRMED = "sid", "first_step", "fs_paa"
_PASSWORD = Place(kind="password", owner=secret_guard.me, methods=frozenset({"POST"}))
_PASSKEY = Place(kind="passkey", owner=secret_guard.me, methods=frozenset({"POST"}))
_OURS = frozenset({"csrf_token", "confirm_password", "credential"})  # fields of the confirmation itself


def fresh(view: View) -> View:
    """Mark a view as sensitive: it asks for a sign-in or a confirmation of the last five minutes."""
    view.fresh = True  # type: ignore[attr-defined]
    return view


def tells_owner(what: str) -> Callable[[View], View]:
    """Email the signed-in member of staff after a view has done its work. `what` is a key of `texts.NOTICES`."""

    def mark(view: View) -> View:
        view.tells_owner = what  # type: ignore[attr-defined]
        return view

    return mark


def own(view: View) -> View:
    """Mark a view that is closed to a session begun by a link which another person requested."""
    view.own_session = True  # type: ignore[attr-defined]
    return view


def first_step(via: str, *, begun_by: str | None = None) -> None:
    """Remember how this sign-in began, until it is complete."""
    session[_FIRST] = [via, begun_by]


def begin(_app: Flask, user: User, **_more: Any) -> None:
    """Start the session of a member of staff who has just signed in."""
    via, begun_by = session.pop(_FIRST, ["other", None])
    browser = request.user_agent.string
    sessions.begin(session, browser=browser)
    session[_KEY] = own_sessions.begin(user, browser=browser, via=via, begun_by=begun_by)
    user.last_login_at, user.current_login_at = user.current_login_at, clock.now()
    user.login_count = (user.login_count or 0) + 1
    detail = {"via": via, **({"begun_by": begun_by} if begun_by else {})}
    with audit.acting(f"staff:{user.id}", address=audit.current().address):
        audit.record("staff.sign_in", object_type="staff", object_id=user.id, detail=detail)


def load() -> bool:
    """Find the stored session of this request; False if it has ended."""
    key = session.get(_KEY)
    found = own_sessions.find(key, user_id=current_user.id) if isinstance(key, str) else None
    g.staff_session = found
    if found is not None and clock.real_now() - found.seen_at > own_sessions.GRAIN:
        with transaction():
            own_sessions.touch(found.id)
    return found is not None


def here() -> StaffSession:
    """Return the stored session of this request; only inside a console view."""
    return cast(StaffSession, g.staff_session)


def check(view: object) -> Response | None:
    """Return None if this session may do what `view` does, else a page that asks to confirm. Raises NotAllowed."""
    if getattr(view, "own_session", False) and here().begun_by is not None:
        with transaction():
            audit.record("access.refused", detail={"endpoint": request.endpoint, "why": "link"})
        raise NotAllowed(
            gettext(
                "You signed in with a link that another person requested. Sign out, sign in by yourself, then do this."
            )
        )
    if not getattr(view, "fresh", False) or is_fresh():
        return None
    if not _has_answer():
        return confirm_page()
    secret_guard.charge(_PASSKEY if request.form.get("credential") else _PASSWORD)
    with transaction():
        wrong = confirm()
    return confirm_page(wrong) if wrong else None


def is_fresh() -> bool:
    """Tell whether this person signed in, or confirmed who they are, in the last five minutes."""
    return 0 <= time.time() - float(session.get(_CONFIRMED, 0)) < FRESH


def _has_answer() -> bool:
    return bool(request.form.get("confirm_password") or request.form.get("credential"))


def confirm() -> str | None:
    """Check the password or passkey in the form, once the try is charged; return what is wrong with it."""
    user = db.session.get_one(User, current_user.id)
    by_passkey = bool(request.form.get("credential"))
    if not (_right_passkey(user) if by_passkey else _right_password(user)):
        return str(
            _("That did not confirm it. Try again.") if by_passkey else _("That is not your password.")
        )
    secret_guard.accepted()
    session[_CONFIRMED] = time.time()
    audit.record("staff.confirmed", object_type="staff", object_id=user.id)
    return None


def _right_password(user: User) -> bool:
    typed = unicodedata.normalize("NFKD", request.form.get("confirm_password", ""))
    return bool(user.password and user.verify_and_update_password(typed))


def _right_passkey(user: User) -> bool:
    site = passkey_challenge.site()
    if site is None:
        return False
    try:
        found = PASSKEYS.sign_in(
            site=site, challenge=passkey_challenge.claim(), answer=request.form.get("credential", "")
        )
    except NotAllowed:
        return False
    return found.id == user.id


def confirm_page(wrong: str | None = None) -> Response:
    """Return the page that asks for the password again and then does what was asked for."""
    user = db.session.get_one(User, current_user.id)
    kept = [(name, value) for name, value in request.form.items(multi=True) if name not in _OURS]
    page = render_template(
        "security/confirm.html",
        kept=kept,
        wrong=wrong,
        user=user,
        site=passkey_challenge.site() if PASSKEYS.of(user) else None,
    )
    return make_response(page, 401)


def finish(view: object, response: Response) -> None:
    """Tell the owner of the account what was done, where the view says so."""
    what = getattr(view, "tells_owner", None)
    if what and request.method == "POST" and response.status_code < 400 and current_user.is_authenticated:
        with transaction():
            notices.tell_owner(current_user.id, what)
