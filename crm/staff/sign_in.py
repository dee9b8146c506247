"""Staff sign-in, on Flask-Security: throttled, with limited sessions, two-step sign-in and audit entries."""

import base64
import hmac
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Flask, request, session
from flask_security import (
    LoginForm,
    Security,
    SQLAlchemyUserDatastore,
    Totp,
    current_user,
    user_authenticated,
)
from flask_security.signals import tf_profile_changed
from redis.exceptions import RedisError

from crm.audit import service as audit
from crm.core import clock, limits, queue
from crm.core.db import db
from crm.core.limits import Limit
from crm.staff import login_throttle, service, sessions
from crm.staff.models import Role, User

if TYPE_CHECKING:
    from crm.core.config import Settings

DEMO_LIFE = timedelta(days=7)
TRIES_PER_MINUTE = 30  # of one network address, whatever the account

WORDS = {  # Flask-Security's messages, reworded to say what to do
    "GENERIC_AUTHN_FAILED": "Email or password is wrong. Check both, then try again.",
    "TWO_FACTOR_INVALID_TOKEN": "That code is wrong or has expired. Type the one the app shows now.",
    "INVALID_CODE": "That code is wrong or has expired. Type the one the app shows now.",
    "INVALID_RECOVERY_CODE": "That recovery code is wrong or was used. Try another one.",
    "EMAIL_NOT_PROVIDED": "Enter your email address.",
    "PASSWORD_NOT_PROVIDED": "Enter your password.",
    "INVALID_PASSWORD": "That is not your password. Check it, then try again.",
    "INVALID_EMAIL_ADDRESS": "Enter an email address with an @, like name@example.org.",
}


class Accounts(SQLAlchemyUserDatastore):
    """The account tables. The request commits, not Flask-Security."""

    def commit(self) -> None:
        db.session.flush()


class SignInForm(LoginForm):
    """Email and password. No sign-in outlives the session, and guessing is throttled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.remember

    def validate(self, **kwargs: Any) -> bool:
        email, address = self.email.data or "", request.remote_addr or ""
        wait = login_throttle.seconds_left(email=email, address=address)
        reached = limits.hit([Limit(name="sign-in", who=address, most=TRIES_PER_MINUTE, seconds=60)])
        if reached is not None:
            wait = max(wait, reached.retry_after)
        if wait:
            self.form_errors.append(_wait_words(wait))
            audit.record("staff.sign_in_slowed")
            return False
        if super().validate(**kwargs):
            login_throttle.succeeded(email=email, address=address)
            return True
        if email and self.password.data:
            login_throttle.failed(email=email, address=address)
            audit.record(
                "staff.sign_in_failed", object_type="staff", object_id=self.user.id if self.user else None
            )
        return False


def _wait_words(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return (
        f"Too many attempts. Wait {minutes} minute{'s' if minutes > 1 else ''}, then try again; "
        "or ask an administrator for a sign-in link."
    )


class OnceTotp(Totp):
    """Codes of an authenticator app, each valid once (replay)."""

    def get_last_counter(self, user: Any) -> int | None:
        try:
            found = queue.redis().get(f"totp:{user.id}")
        except RedisError:
            return None
        return int(found) if found else None

    def set_last_counter(self, user: Any, tmatch: Any) -> None:
        try:
            queue.redis().set(f"totp:{user.id}", tmatch.counter, ex=600)
        except RedisError:
            return


def link_for(user: User, *, life: timedelta = DEMO_LIFE) -> str:
    """Return the path of a one-time sign-in link with a long life, for a demo on this machine."""
    return f"/sign-in/{service.sign_in_link(user=user, life=life)}"


def init_sign_in(app: Flask, settings: "Settings") -> None:
    """Give `app` its sign-in pages at /login, /logout and /tf-*."""
    app.config.update(_config(settings))
    accounts = Accounts(db, User, Role)
    Security(app, accounts, login_form=SignInForm, totp_cls=OnceTotp)
    user_authenticated.connect(_signed_in, app)
    tf_profile_changed.connect(_second_factor_changed, app)
    app.view_functions["security.logout"] = _sign_out(app.view_functions["security.logout"])


def _config(settings: "Settings") -> dict[str, Any]:
    return {
        "SECURITY_PASSWORD_HASH": "argon2",
        "SECURITY_PASSWORD_SCHEMES": ["argon2"],
        "SECURITY_PASSWORD_SINGLE_HASH": {
            "argon2"
        },  # no pepper: it would tie passwords to a key that is rotated
        "SECURITY_PASSWORD_LENGTH_MIN": 12,
        "SECURITY_DATETIME_FACTORY": clock.now,
        "SECURITY_POST_LOGIN_VIEW": "/console/",
        "SECURITY_POST_LOGOUT_VIEW": "/login",
        "SECURITY_RETURN_GENERIC_RESPONSES": True,
        "SECURITY_FLASH_MESSAGES": False,
        "SECURITY_CSRF_IGNORE_UNAUTH_ENDPOINTS": False,
        "SECURITY_TWO_FACTOR": True,
        "SECURITY_TWO_FACTOR_REQUIRED": settings.two_factor_required,
        "SECURITY_TWO_FACTOR_ENABLED_METHODS": ["authenticator"],
        "SECURITY_TWO_FACTOR_RESCUE_EMAIL": False,
        "SECURITY_TWO_FACTOR_VALIDITY_COOKIE": {
            "httponly": True,
            "secure": settings.secure,
            "samesite": "Strict",
        },
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES": True,
        "SECURITY_TOTP_SECRETS": {
            str(n): _totp_key(key) for n, (_, key) in enumerate(reversed(settings.field_keys))
        },
        "SECURITY_TOTP_ISSUER": settings.clinic.short_name,
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False},
        "SECURITY_API_ENABLED_METHODS": ["session"],
        **{f"SECURITY_MSG_{name}": (words, "error") for name, words in WORDS.items()},
    }


def _totp_key(field_key: bytes) -> str:
    return base64.b64encode(hmac.digest(field_key, b"second factor", "sha256")).decode()


def _signed_in(_app: Flask, user: User, **_more: Any) -> None:
    sessions.begin(session, browser=request.user_agent.string)
    user.last_login_at, user.current_login_at = user.current_login_at, clock.now()
    user.login_count = (user.login_count or 0) + 1
    with audit.acting(f"staff:{user.id}", ip_index=audit.current().ip_index):
        audit.record("staff.sign_in", object_type="staff", object_id=user.id)


def _second_factor_changed(_app: Flask, user: User, **_more: Any) -> None:
    audit.record("staff.second_factor", object_type="staff", object_id=user.id)


def _sign_out(view: Any) -> Any:
    """Make signing out also end copies of the session cookie."""

    def signing_out() -> Any:
        if current_user.is_authenticated:
            service.sign_out_everywhere(db.session.get_one(User, current_user.id))
        return view()

    return signing_out
