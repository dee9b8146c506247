"""Guard of every place that takes a secret: slow, audited, and reported to the owner and to administrators.

`takes_secret` marks a view; `crm.web.access_guard` calls `begin` before it and `finish` after it. A try counts as a
failure unless the view says `accepted`: a place that forgets to say so becomes slow, never open.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from flask import Response, flash, g, redirect, request, session, url_for
from flask_babel import gettext
from flask_security import current_user
from sqlalchemy import select

from crm.audit import service as audit
from crm.core.db import db, transaction
from crm.core.errors import TooMany
from crm.staff.models import User
from crm.staff.sign_in import notices, throttle

View = TypeVar("View", bound=Callable[..., Any])
Kind = Literal["password", "code", "link", "passkey"]

HALF_LIFE = 600  # seconds between the first step of a sign-in and its second
_HALF = "half"  # in the session: [opaque name, since]. A copied cookie has the same name, so the same count
_FLASK_SECURITY = ("tf_state", "tf_user_id", "tf_primary_method", "tf_totp_secret", "tf_select")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose secret is tried: what it is counted by, and the staff account if there is one."""

    account: str
    user_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """A view that takes a secret."""

    kind: Kind
    owner: Callable[[], Owner | None]
    methods: frozenset[str]


@dataclass(kw_only=True)
class Attempt:
    """One try at a secret in the running request."""

    place: Place
    owner: Owner | None
    half: str | None
    charged: throttle.Charged = field(default_factory=throttle.Charged)
    accepted: bool = False


def nobody() -> None:
    """Return no owner: the secret itself names the account (links, passkeys), so only the network address is slowed."""
    return


def typed_address() -> Owner | None:
    """Return the owner of the email address in the form; counted alike whether it has an account or not."""
    email = request.form.get("email", "").strip().lower()[:320]
    if not email:
        return None
    return Owner(account=email, user_id=db.session.scalar(select(User.id).where(User.email == email)))


def me() -> Owner | None:
    """Return the signed-in member of staff, else the one whose half sign-in this is."""
    if current_user.is_authenticated:
        return Owner(account=current_user.email, user_id=current_user.id)
    user = half_user()
    return Owner(account=user.email, user_id=user.id) if user else None


def half_user() -> User | None:
    """Return the member of staff who has passed the first step of signing in and not the second."""
    mark = session.get("tf_user_id")
    return db.session.scalar(select(User).where(User.fs_uniquifier == mark)) if mark else None


def takes_secret(
    kind: Kind, *, owner: Callable[[], Owner | None] = nobody, methods: tuple[str, ...] = ("POST",)
) -> Callable[[View], View]:
    """Mark a view that takes a secret with these methods."""

    def mark(view: View) -> View:
        view.secret_place = Place(kind=kind, owner=owner, methods=frozenset(methods))  # type: ignore[attr-defined]
        return view

    return mark


def begin(view: object) -> None:
    """Charge a try at the secret that `view` takes, if it takes one with this request. Raises TooMany."""
    place = getattr(view, "secret_place", None)
    if place is not None and request.method in place.methods:
        charge(place)


def charge(place: Place) -> None:
    """Charge a try at a secret, in a transaction of its own. Raises TooMany."""
    if place.kind == "code":
        _end_old_half()
    with transaction():
        attempt = Attempt(place=place, owner=place.owner(), half=_half() if place.kind == "code" else None)
        attempt.charged = throttle.charge(**_counted_by(attempt))
        if attempt.charged.wait:
            _record("secret.slowed", attempt)
    if attempt.charged.wait:
        if attempt.charged.half_over:
            end_half()
        raise TooMany(_wait_words(attempt.charged.wait), retry_after=attempt.charged.wait)
    g.secret_attempt = attempt


def accepted() -> None:
    """Report that the secret of this request was right. Part of the request's transaction."""
    attempt: Attempt | None = g.get("secret_attempt")
    if attempt is None or attempt.accepted:
        return
    attempt.accepted = True
    throttle.succeeded(**_counted_by(attempt))
    session.pop(_HALF, None)


def finish(response: Response) -> Response:
    """Record a failed try, and name a half sign-in that has begun; return what the browser gets."""
    attempt: Attempt | None = g.pop("secret_attempt", None)
    if attempt is not None and not attempt.accepted:
        response = _failed(attempt, response)
    if "tf_user_id" not in session:
        session.pop(_HALF, None)
    elif _HALF not in session:
        session[_HALF] = [secrets.token_hex(8), int(time.time())]
    return response


def _failed(attempt: Attempt, response: Response) -> Response:
    over = attempt.charged.half_over
    with transaction():
        _record("secret.failed", attempt)
        user_id = attempt.owner.user_id if attempt.owner else None
        if over:
            notices.guessed(user_id, what="codes")
        elif attempt.charged.last_free:
            notices.guessed(user_id, what=attempt.place.kind)
        if attempt.charged.flood:
            notices.flooded()
    if not over:
        return response
    end_half()
    flash(gettext("Too many wrong codes. Sign in again from the start."), "error")
    return redirect(url_for("security.login"))  # type: ignore[return-value]


def _counted_by(attempt: Attempt) -> dict[str, Any]:
    return {
        "kind": attempt.place.kind,
        "account": attempt.owner.account if attempt.owner else None,
        "address": request.remote_addr or "",
        "half": attempt.half,
    }


def _record(action: str, attempt: Attempt) -> None:
    user_id = attempt.owner.user_id if attempt.owner else None
    detail = {"kind": attempt.place.kind, "endpoint": request.endpoint}
    audit.record(action, object_type="staff" if user_id else None, object_id=user_id, detail=detail)


def _half() -> str | None:
    name = session.get(_HALF)
    return str(name[0]) if isinstance(name, list) else None


def _end_old_half() -> None:
    begun = session.get(_HALF)
    if isinstance(begun, list) and not 0 <= time.time() - begun[1] < HALF_LIFE:
        end_half()


def end_half() -> None:
    """End the half sign-in of this browser."""
    for name in (*_FLASK_SECURITY, _HALF):
        session.pop(name, None)


def _wait_words(seconds: int) -> str:
    minutes = -(-seconds // 60)
    if minutes == 1:
        return str(gettext("Too many attempts. Wait a minute, then try again."))
    return str(gettext("Too many attempts. Wait %(n)s minutes, then try again.", n=minutes))
