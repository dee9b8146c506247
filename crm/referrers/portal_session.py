"""Portal sessions. Separate from staff sessions: a staff account does not open the portal, nor the reverse."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar, cast

from flask import flash, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.audit import service as audit
from crm.core.db import db
from crm.referrers.models import PortalPerson, PortalState
from crm.staff import sessions

View = TypeVar("View", bound=Callable[..., Any])

_KEY = "portal"


def signed_in(view: View) -> View:
    """Mark a view as open to portal users; `check` runs for every request to it."""
    view.portal = True  # type: ignore[attr-defined]
    return view


def begin(person: PortalPerson) -> None:
    """Start a session for this portal user; a session of this browser before it ends."""
    session.clear()
    session[_KEY] = [person.id, person.serial]
    sessions.begin(session)


def end() -> None:
    """End the session in this browser."""
    session.clear()


def person() -> PortalPerson:
    """Return the signed-in portal user; only inside a view marked `signed_in`."""
    return cast(PortalPerson, g.portal_person)


def who() -> PortalPerson | None:
    """Return the signed-in portal user, if any; a staff session does not count."""
    if "_user_id" in session or not isinstance(session.get(_KEY), list):
        return None
    person_id, serial = session[_KEY]
    found = db.session.get(PortalPerson, person_id)
    if found is None or found.state is not PortalState.OPEN or found.serial != serial:
        return None
    return found


def check(stack: ExitStack) -> ResponseReturnValue | None:
    """Return None and act as the portal user while `stack` is open, or return a redirect to the sign-in page."""
    found = who()
    if found is not None and sessions.ended(session):
        hours = time.time() - session.get("since", 0) >= sessions.LONGEST
        end()
        flash(
            gettext("You were signed out after 12 hours. Please sign in again.")
            if hours
            else gettext("You were signed out after 15 minutes without activity. Please sign in again."),
            "info",
        )
        found = None
    if found is None:
        return redirect(url_for("refer_in.request_link"))
    sessions.touch(session)
    g.portal_person = found
    if request.args.get("lang") not in ("en", "es"):
        g.language = found.language
    stack.enter_context(audit.acting(f"referrer:{found.id}", address=audit.current().address))
    return None
