"""Challenges of passkeys, kept in the session of the browser that asked."""

from flask import session
from flask_babel import gettext

from crm.core import current
from crm.core.errors import NotFound
from crm.staff import rules
from crm.staff.rules import Site
from crm.staff.sign_in import passkeys

_SIGN_IN, _ADD = "passkey", "passkey_add"  # apart: confirming who it is must not cost the challenge of adding


def site() -> Site | None:
    """Return the site that passkeys are bound to; None if this installation cannot have passkeys."""
    return rules.passkey_site(current.settings().public_url)


def site_or_404() -> Site:
    """Return the site that passkeys are bound to. Raises NotFound if there can be none."""
    found = site()
    if found is None:
        raise NotFound(gettext("There is no page at this address."))
    return found


def issue(purpose: str, *, adding: bool = False) -> bytes:
    """Create a challenge for this browser; it replaces the one before of its sort."""
    made = passkeys.new_challenge(purpose)
    session[_ADD if adding else _SIGN_IN] = made.hex()
    return made


def claim(*, adding: bool = False) -> bytes:
    """Return the challenge of this browser and remove it; empty if there is none."""
    return bytes.fromhex(session.pop(_ADD if adding else _SIGN_IN, ""))
