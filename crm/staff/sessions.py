"""Session lifetime. In real time: moving the demo clock must not sign users out."""

import hashlib
import time
from collections.abc import MutableMapping
from typing import Any

IDLE = 15 * 60  # seconds; automatic logoff, 45 CFR 164.312(a)(2)(iii)
LONGEST = 12 * 3600
GRAIN = 30  # seconds between two writes of the cookie

_SINCE, _SEEN, _BROWSER = "since", "seen", "browser"


def begin(session: MutableMapping[str, Any], *, browser: str = "") -> None:
    """Start the timers of a new session. `browser` is its User-Agent."""
    session[_SINCE] = session[_SEEN] = int(time.time())
    session[_BROWSER] = _mark(browser)


def _mark(browser: str) -> str:
    return hashlib.sha256(browser.encode()).hexdigest()[:16]


def ended(session: MutableMapping[str, Any], *, browser: str | None = None) -> str | None:
    """Return why a session has ended, as a text for the user; None while it lasts.

    A cookie that appears in another browser was copied (session hijacking). Network addresses are not compared:
    phones change theirs.
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
    """Record activity."""
    now = int(time.time())
    if _SEEN in session and now - session[_SEEN] >= GRAIN:
        session[_SEEN] = now
