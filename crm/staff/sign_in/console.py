"""What a member of staff sees of their own signing in: sessions and passkeys."""

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user

from crm.audit import service as audit
from crm.core import current
from crm.core.blueprints import ConsolePages
from crm.core.db import db
from crm.core.errors import Conflict, NotAllowed
from crm.staff import access
from crm.staff.models import User
from crm.staff.sign_in import own_sessions, passkey_challenge, staff_session
from crm.staff.sign_in.staff_passkeys import PASSKEYS

pages = ConsolePages("own_sign_in", __name__, url_prefix="/account", part_of="staff")


def _me() -> User:
    return db.session.get_one(User, current_user.id)


def _back(message: str, kind: str = "success") -> ResponseReturnValue:
    flash(message, kind)
    return redirect(url_for("console.staff.account"), code=303)


@pages.post("/sessions/<int:session_id>/end")
@access.require("use_console")
def end_session(session_id: int) -> ResponseReturnValue:
    """End one of the reader's own sessions."""
    own_sessions.end(user_id=current_user.id, session_id=session_id)
    return _back(gettext("Session ended."))


@pages.post("/sessions/end-others")
@access.require("use_console")
def end_others() -> ResponseReturnValue:
    """End all of the reader's sessions except this one."""
    own_sessions.end_all(current_user.id, but=staff_session.here().id)
    audit.record("staff.sessions_end", object_type="staff", object_id=current_user.id)
    return _back(gettext("Your other sessions have ended."))


@pages.post("/passkeys/challenge")
@access.require("use_console")
def challenge() -> ResponseReturnValue:
    """Return the options a browser needs to create a passkey."""
    user, site = _me(), passkey_challenge.site_or_404()
    made = passkey_challenge.issue(PASSKEYS.adding(user), adding=True)
    options = PASSKEYS.add_options(user, site=site, challenge=made, clinic=current.settings().clinic.name)
    return Response(options, mimetype="application/json")


@pages.post("/passkeys")
@access.require("use_console")
@staff_session.fresh
@staff_session.own
@staff_session.tells_owner("passkey_added")
def add_passkey() -> ResponseReturnValue:
    """Store the passkey that the browser created."""
    name = " ".join(request.form.get("name", "").split()) or gettext("Passkey")
    answer = request.form.get("passkey", "")
    try:
        PASSKEYS.add(
            _me(),
            site=passkey_challenge.site_or_404(),
            challenge=passkey_challenge.claim(adding=True),
            answer=answer,
            name=name,
        )
    except Conflict as error:
        raise Conflict(
            gettext("This passkey is here already, or you have as many as fit. Remove one first.")
        ) from error
    except NotAllowed as error:
        raise Conflict(gettext("The passkey was not added. Please try again.")) from error
    return _back(gettext("Your passkey was added. You can sign in with it from now on."))


@pages.post("/passkeys/<int:passkey_id>/remove")
@access.require("use_console")
@staff_session.fresh
@staff_session.tells_owner("passkey_removed")
def remove_passkey(passkey_id: int) -> ResponseReturnValue:
    """Remove a passkey."""
    PASSKEYS.remove(_me(), passkey_id)
    return _back(gettext("The passkey was removed. It does not sign you in any more."))
