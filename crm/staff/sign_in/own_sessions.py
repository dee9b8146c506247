"""Sessions of staff, on the server: each signed-in browser is a row, so its owner can see and end it."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, update

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import NotFound
from crm.staff.models import StaffSession, User

GRAIN = timedelta(minutes=5)  # precision of `seen_at`: a write per request would cost too much
LONGEST = timedelta(hours=12)  # as in `crm.staff.sessions`

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS", "Mac"),
    ("CrOS", "Chromebook"), ("Linux", "Linux"),
)  # fmt: skip


def browser_name(user_agent: str) -> str:
    """Return how a browser is called: "Firefox on Windows"."""
    names = [
        next((name for sign, name in table if re.search(sign, user_agent)), "")
        for table in (_BROWSERS, _SYSTEMS)
    ]
    return " on ".join(filter(None, names)) or "Unknown browser"


def begin(user: User, *, browser: str, via: str, begun_by: str | None) -> str:
    """Store a new session; return its key, which only the cookie holds."""
    key, now = secrets.token_urlsafe(16), clock.real_now()
    db.session.add(
        StaffSession(
            user_id=user.id,
            key_hash=_hash(key),
            browser=browser_name(browser),
            via=via,
            begun_by=begun_by,
            begun_at=now,
            seen_at=now,
        )
    )
    return key


def find(key: str, *, user_id: int) -> StaffSession | None:
    """Return the session with this key, if it goes on and is of this user."""
    found = db.session.scalar(select(StaffSession).where(StaffSession.key_hash == _hash(key)))
    return found if found and found.user_id == user_id and found.ended_at is None else None


def touch(session_id: int) -> None:
    """Record activity."""
    mine = update(StaffSession).where(StaffSession.id == session_id)
    db.session.execute(mine.values(seen_at=clock.real_now()))


def of(user_id: int) -> Sequence[StaffSession]:
    """Return the sessions of a user that may still go on, the latest first."""
    query = select(StaffSession).where(
        StaffSession.user_id == user_id,
        StaffSession.ended_at.is_(None),
        StaffSession.begun_at > clock.real_now() - LONGEST,
    )
    return db.session.scalars(query.order_by(StaffSession.id.desc())).all()


def end(*, user_id: int, session_id: int) -> None:
    """End one session of this user. Raises NotFound, also for a session of another."""
    found = db.session.get(StaffSession, session_id, with_for_update=True)
    if found is None or found.user_id != user_id:
        raise NotFound("Session not found.")
    found.ended_at = found.ended_at or clock.real_now()
    audit.record("staff.session_end", object_type="staff", object_id=user_id, detail={"session": session_id})


def end_all(user_id: int, *, but: int | None = None) -> None:
    """End the sessions of this user, except one."""
    mine = update(StaffSession).where(StaffSession.user_id == user_id, StaffSession.ended_at.is_(None))
    if but is not None:
        mine = mine.where(StaffSession.id != but)
    db.session.execute(mine.values(ended_at=clock.real_now()))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
