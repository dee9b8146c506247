"""Staff sign-in, on Flask-Security: guarded secrets, limited sessions, two-step sign-in and audit entries."""

import base64
import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Flask, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import (
    LoginForm,
    MfRecoveryForm,
    Security,
    SQLAlchemyUserDatastore,
    Totp,
    TwoFactorVerifyCodeForm,
    current_user,
    user_authenticated,
)
from passlib.totp import TOTP, AppWallet
from sqlalchemy import select, update

from crm.core import clock, current
from crm.core.db import db
from crm.staff import redirects, service
from crm.staff.models import Role, User
from crm.staff.sign_in import passkey_challenge, secret_guard, staff_session
from crm.staff.sign_in.oidc_client import init_single_sign_on
from crm.staff.sign_in.recovery_codes import HashedRecoveryCodes
from crm.staff.sign_in.secret_guard import takes_secret

if TYPE_CHECKING:
    from crm.core.config import Settings


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

    def tf_set(
        self, user: Any, primary_method: str, totp_secret: str | None = None, phone: str | None = None
    ) -> None:
        """Store a second factor. Recovery codes end with the factor they were made for."""
        changed = bool(totp_secret) and totp_secret != user.tf_totp_secret
        super().tf_set(user, primary_method, totp_secret, phone)
        if changed:
            service.note_second_factor(user_id=user.id)

    def tf_reset(self, user: Any) -> None:
        """Remove the second factor."""
        service.remove_two_step(user_id=user.id, end_sessions=False)


class SignInForm(LoginForm):
    """Email and password. No sign-in outlives the session."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.remember

    def validate(self, **kwargs: Any) -> bool:
        right = _reported(super().validate(**kwargs))
        if right:
            staff_session.first_step("password")
        return right


class CodeForm(TwoFactorVerifyCodeForm):
    """A code of the authenticator app."""

    def validate(self, **kwargs: Any) -> bool:
        return _reported(super().validate(**kwargs))


class RecoveryForm(MfRecoveryForm):
    """A recovery code."""

    def validate(self, **kwargs: Any) -> bool:
        return _reported(super().validate(**kwargs))


def _reported(right: bool) -> bool:
    if right:
        secret_guard.accepted()
    return right


class OnceTotp(Totp):
    """Codes of an authenticator app, each valid once (replay). The row stays locked until the request has ended.

    The first of `secrets` encrypts the apps' secrets, all decrypt.
    """

    def __init__(self, secrets: dict[str, str], issuer: str) -> None:
        super().__init__(secrets, issuer)
        wallet = AppWallet(secrets, default_tag=next(iter(secrets)))
        self._totp = TOTP.using(issuer=issuer, wallet=wallet)

    def encrypt_again(self, stored: str) -> str | None:
        """Return a stored secret encrypted with the newest key; None if it is so already."""
        secret = self._totp.from_source(stored)
        return str(secret.to_json()) if secret.changed else None

    def get_last_counter(self, user: Any) -> int | None:
        return db.session.scalar(select(User.tf_counter).where(User.id == user.id).with_for_update())

    def set_last_counter(self, user: Any, tmatch: Any) -> None:
        db.session.execute(update(User).where(User.id == user.id).values(tf_counter=tmatch.counter))


GUARDED = {
    "security.login": takes_secret("password", owner=secret_guard.typed_address),
    "security.two_factor_token_validation": takes_secret("code", owner=secret_guard.me),
    "security.two_factor_setup_validate": takes_secret("code", owner=secret_guard.me),
    "security.mf_recovery": takes_secret("code", owner=secret_guard.me),
}
"""Flask-Security's views that take a secret."""


def init_sign_in(app: Flask, settings: "Settings") -> None:
    """Give `app` its sign-in pages at /login, /logout and /tf-*."""
    app.config.update(_config(settings))
    accounts = Accounts(db, User, Role)
    Security(
        app,
        accounts,
        login_form=SignInForm,
        two_factor_verify_code_form=CodeForm,
        mf_recovery_form=RecoveryForm,
        mf_recovery_codes_util_cls=HashedRecoveryCodes,
        totp_cls=OnceTotp,
    )
    # The session alone says who a member of staff is: no token in a header, an address or a body does. What a role may do
    # is asked of `crm.staff.access`, so no request loads it for Flask-Principal.
    app.extensions["security"].login_manager.request_loader(lambda _request: None)
    app.extensions["security"].principal.identity_loaders.clear()
    app.extensions["security"].login_context_processor(
        lambda: {"sign_in_ways": {"site": passkey_challenge.site(), "provider": _provider()}}
    )
    init_single_sign_on(app, settings.sso)
    user_authenticated.connect(staff_session.begin, app)
    app.view_functions["security.verify"] = verify
    app.view_functions["security.logout"] = _sign_out(app.view_functions["security.logout"])
    for endpoint, guard in GUARDED.items():
        guard(app.view_functions[endpoint])


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
        "SECURITY_FRESHNESS": timedelta(seconds=staff_session.FRESH),
        "SECURITY_FRESHNESS_GRACE_PERIOD": timedelta(0),
        "SECURITY_TWO_FACTOR_POST_SETUP_VIEW": "/mf-recovery-codes",
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
        "SECURITY_TOTP_SECRETS": totp_secrets(settings.field_keys),
        "SECURITY_TOTP_ISSUER": settings.clinic.short_name,
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False},
        "SECURITY_API_ENABLED_METHODS": ["session"],
        **{f"SECURITY_MSG_{name}": (words, "error") for name, words in WORDS.items()},
    }


@takes_secret("password", owner=secret_guard.me)
def verify() -> ResponseReturnValue:
    """Ask for the password again, or a passkey, and go on to the page that needs it."""
    if not current_user.is_authenticated:
        return redirect(url_for("security.login"))
    wrong = staff_session.confirm() if request.method == "POST" else None
    if wrong or request.method == "GET":
        return staff_session.confirm_page(wrong)
    return redirect(redirects.safe_path(request.args.get("next", "")) or url_for("console.home"))


def _provider() -> str | None:
    sso = current.settings().sso
    return sso.name if sso else None


def totp_secrets(field_keys: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    """Return the keys of second factors by the tag that is stored with each, the newest first.

    Earlier releases numbered them from the last; `flask keys rotate` leaves nothing under such a tag.
    """
    named = {f"k-{key_id}": _totp_key(key) for key_id, key in field_keys}
    return named | {str(n): _totp_key(key) for n, (_, key) in enumerate(reversed(field_keys))}


def _totp_key(field_key: bytes) -> str:
    return base64.b64encode(hmac.digest(field_key, b"second factor", "sha256")).decode()


def _sign_out(view: Any) -> Any:
    """Make signing out also end copies of the session cookie."""

    def signing_out() -> Any:
        if current_user.is_authenticated:
            service.sign_out_everywhere(db.session.get_one(User, current_user.id))
        return view()

    return signing_out
