"""Session lifetimes. In real time on purpose: moving the demo clock ahead must not end sign-ins."""

import hashlib
import time
from collections.abc import MutableMapping
from typing import Any

IDLE = 15 * 60  # seconds; automatic logoff, 45 CFR 164.312(a)(2)(iii)
LONGEST = 12 * 3600
GRAIN = 30  # the cookie is not written anew for every request

_SINCE, _SEEN, _BROWSER = "since", "seen", "browser"


def begin(session: MutableMapping[str, Any], *, browser: str = "") -> None:
    """Start the clocks of a new sign-in. `browser`: how it names itself (User-Agent)."""
    session[_SINCE] = session[_SEEN] = int(time.time())
    session[_BROWSER] = _mark(browser)


def _mark(browser: str) -> str:
    return hashlib.sha256(browser.encode()).hexdigest()[:16]


def ended(session: MutableMapping[str, Any], *, browser: str | None = None) -> str | None:
    """Return why a sign-in is over, in words for the person; None while it lasts.

    A cookie that turns up in another browser was copied. Network addresses are not compared: phones change theirs.
    """
    now = time.time()
    if browser is not None and session.get(_BROWSER) != _mark(browser):
        return "You were signed out because your browser changed. Please sign in again."
    if now - session.get(_SINCE, 0) >= LONGEST:
        return "You were signed out after 12 hours. Please sign in again."
    if now - session.get(_SEEN, 0) >= IDLE:
        return "You were signed out after 15 minutes without activity. Please sign in again."
    return None


def touch(session: MutableMapping[str, Any]) -> None:
    """Note that the person is still there."""
    now = int(time.time())
    if _SEEN in session and now - session[_SEEN] >= GRAIN:
        session[_SEEN] = now
