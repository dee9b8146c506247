"""Sign-in of staff at an OpenID provider: authorization code flow with PKCE, state and nonce (OAuth 2.1, OpenID Connect)."""

from typing import Any

import structlog
from authlib.integrations.base_client import OAuthError
from flask import current_app, flash, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import login_user
from joserfc.errors import JoseError
from requests import RequestException

from crm.audit import service as audit
from crm.core import current, limits
from crm.core.blueprints import PublicPages
from crm.core.config import SingleSignOn
from crm.core.errors import NotAllowed, NotFound, TooMany
from crm.core.limits import Limit
from crm.staff import redirects
from crm.staff.sign_in import secret_guard, single_sign_on, staff_session
from crm.staff.sign_in.secret_guard import takes_secret

log = structlog.get_logger()

pages = PublicPages("single_sign_on", __name__, url_prefix="/sign-in/sso")

_NEXT = "sso_next"


def _provider() -> tuple[Any, SingleSignOn]:
    settings = current.settings().sso
    if settings is None:
        raise NotFound(gettext("There is no page at this address."))
    return current_app.extensions["single_sign_on"].staff, settings


@pages.get("")
def begin() -> ResponseReturnValue:
    """Send the browser to the provider."""
    provider, _ = _provider()
    reached = limits.hit([Limit(name="sso", who=request.remote_addr or "", most=60, seconds=600)])
    if reached is not None:
        raise TooMany(
            gettext("Too many attempts. Wait a minute, then try again."), retry_after=reached.retry_after
        )
    session[_NEXT] = redirects.safe_path(request.args.get("next", "")) or ""
    for name in [name for name in session if name.startswith("_state_")]:  # one attempt at a time
        session.pop(name)
    try:
        return provider.authorize_redirect(_answer_address())  # type: ignore[no-any-return]
    except (RequestException, ValueError, RuntimeError) as error:
        return _refused("unreachable", error)


def _answer_address() -> str:
    return f"{current.settings().public_url}{url_for('.answer')}"


@pages.get("/answer")
@takes_secret("link", methods=("GET",))
def answer() -> ResponseReturnValue:
    """Sign in whom the provider vouches for. The audit log has the reason of a refusal; the page does not."""
    provider, settings = _provider()
    try:
        claims = provider.authorize_access_token()["userinfo"]
        with_issuer = str(claims.get("iss", "")).rstrip("/")
        if with_issuer != settings.issuer:
            raise NotAllowed("issuer")
        user = single_sign_on.account_of(claims, settings=settings)
    except NotAllowed as error:
        return _refused(error.message)
    except (OAuthError, JoseError, RequestException, ValueError, KeyError) as error:
        return _refused("not proved", error)
    secret_guard.accepted()
    staff_session.first_step("sso")
    after = session.pop(_NEXT, "") or url_for("console.home")
    if not single_sign_on.has_two_steps(claims, settings=settings):
        plugins = current_app.extensions["security"].two_factor_plugins
        second = plugins.tf_enter(user, False, "sso", next_loc=after)
        if second is not None:
            return second  # type: ignore[no-any-return]
    login_user(user, authn_via=["sso"])
    return redirect(after)


def _refused(why: str, error: Exception | None = None) -> ResponseReturnValue:
    if error is not None:
        log.warning("single_sign_on.failed", why=why, error=type(error).__name__)
    audit.record("staff.sso_refused", detail={"why": why})
    flash(
        gettext(
            "That did not sign you in. Try again, or ask an administrator whether your account is active."
        ),
        "error",
    )
    return redirect(url_for("security.login"))
