"""Who of a practice is at the portal's door. A session of its own: no staff account opens it, and it opens no console."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar, cast

from flask import flash, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.audit import service as audit
from crm.core import current
from crm.core.db import db
from crm.core.errors import NotFound
from crm.referrers import passkeys, rules
from crm.referrers.models import PortalPerson
from crm.referrers.rules import Site
from crm.staff import sessions

View = TypeVar("View", bound=Callable[..., Any])

_KEY = "portal"
_CHALLENGE = "passkey"


def signed_in(view: View) -> View:
    """Open a view to people of practices. The check itself is made for every request by `check`."""
    view.portal = True  # type: ignore[attr-defined]
    return view


def begin(person: PortalPerson) -> None:
    """Start a session for this person; whatever was signed in here before is signed out."""
    session.clear()
    session[_KEY] = [person.id, person.serial]
    sessions.begin(session)


def end() -> None:
    """End the session in this browser."""
    session.clear()


def person() -> PortalPerson:
    """Return who is signed in; only inside a view that is `signed_in`."""
    return cast(PortalPerson, g.portal_person)


def who() -> PortalPerson | None:
    """Return who is signed in here, if anybody; a session of staff is not one of the portal."""
    if "_user_id" in session or not isinstance(session.get(_KEY), list):
        return None
    person_id, serial = session[_KEY]
    found = db.session.get(PortalPerson, person_id)
    if found is None or found.state != "open" or found.serial != serial:
        return None
    return found


def site() -> Site | None:
    """Return what passkeys are bound to here; None where this installation can have none."""
    return rules.passkey_site(current.settings().public_url)


def site_or_404() -> Site:
    """The same. Raises NotFound where there can be none."""
    found = site()
    if found is None:
        raise NotFound(gettext("There is no page at this address."))
    return found


def ask(purpose: str) -> bytes:
    """Make a challenge for this browser alone; the one before is forgotten."""
    made = passkeys.new_challenge(purpose)
    session[_CHALLENGE] = made.hex()
    return made


def asked() -> bytes:
    """Return the challenge this browser was given, and forget it; empty when there is none."""
    return bytes.fromhex(session.pop(_CHALLENGE, ""))


def check(stack: ExitStack) -> ResponseReturnValue | None:
    """Let a request pass (None), acting as the person for as long as `stack` lives, or lead it to the sign-in page."""
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
        return redirect(url_for("refer_in.ask"))
    sessions.touch(session)
    g.portal_person = found
    if request.args.get("lang") not in ("en", "es"):
        g.language = found.language
    stack.enter_context(audit.acting(f"referrer:{found.id}", ip_index=audit.current().ip_index))
    return None
