"""Single sign-on: from what an OpenID provider says about a person to a staff account. Refuses by default.

Only the provider's subject is trusted to stay the same. A verified email address connects it to an account once; after
that an address that changes hands at the provider opens nothing.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from crm.audit import service as audit
from crm.core import clock
from crm.core.config import SingleSignOn
from crm.core.db import db
from crm.core.errors import Invalid, NotAllowed
from crm.staff import service
from crm.staff.models import StaffIdentity, User
from crm.staff.sign_in import notices

MULTI_FACTOR = frozenset(
    {"mfa", "hwk", "swk", "otp", "fido", "phr", "phrh"}
)  # `amr` of RFC 8176, and of Okta and Entra


def account_of(claims: Mapping[str, Any], *, settings: SingleSignOn) -> User:
    """Return the account that verified claims sign in, made or connected if need be. Raises NotAllowed with a code."""
    email = _verified_email(claims, settings)
    roles = _roles(claims, settings)
    user = (
        _known(claims, settings)
        or _connect(email, claims, settings)
        or _create(email, claims, roles, settings)
    )
    if not user.active or user.practice_id is not None:
        raise NotAllowed("closed")
    if roles and roles != {role.name for role in user.roles}:
        service.set_roles(user_id=user.id, roles=roles)
    return user


def has_two_steps(claims: Mapping[str, Any], *, settings: SingleSignOn) -> bool:
    """Tell whether the provider has asked for a second step."""
    methods = claims.get("amr")
    return settings.has_two_steps or (
        isinstance(methods, list) and not MULTI_FACTOR.isdisjoint(map(str, methods))
    )


def _verified_email(claims: Mapping[str, Any], settings: SingleSignOn) -> str:
    """Return the verified address, in an allowed domain.

    Microsoft Entra sends no `email_verified`, and lets people choose `email` themselves: there its claim `xms_edov` must
    say that the owner of the domain vouches for it.
    """
    email = str(claims.get("email") or "").strip().lower()
    if not email or not any(
        claims.get(name) in (True, "true", 1, "1") for name in ("email_verified", "xms_edov")
    ):
        raise NotAllowed("email not verified")
    domains = {email.rpartition("@")[2]} | ({str(claims["hd"]).lower()} if claims.get("hd") else set())
    if not domains <= settings.domains:
        raise NotAllowed("domain")
    return email


def _roles(claims: Mapping[str, Any], settings: SingleSignOn) -> set[str]:
    """Return the roles of a person's groups; empty where roles are given in the console."""
    if not settings.roles:
        return set()
    groups = claims.get("groups") or claims.get("roles") or []
    found = {settings.roles[str(group)] for group in groups if str(group) in settings.roles}
    if not found:
        raise NotAllowed("no group")
    return found


def _known(claims: Mapping[str, Any], settings: SingleSignOn) -> User | None:
    query = select(User).join(StaffIdentity, StaffIdentity.user_id == User.id)
    return db.session.scalar(
        query.where(StaffIdentity.issuer == settings.issuer, StaffIdentity.subject == str(claims["sub"]))
    )


def _connect(email: str, claims: Mapping[str, Any], settings: SingleSignOn) -> User | None:
    """Connect the account with this address, unless another person at the provider has it. Raises NotAllowed."""
    user = db.session.scalar(select(User).where(User.email == email).with_for_update(of=User))
    if user is None:
        return None
    taken = select(StaffIdentity.id).where(
        StaffIdentity.user_id == user.id, StaffIdentity.issuer == settings.issuer
    )
    if db.session.scalar(taken) is not None:
        raise NotAllowed("another subject")
    _link(user, claims, settings)
    notices.tell_owner(user.id, "sso_linked")
    return user


def _create(email: str, claims: Mapping[str, Any], roles: set[str], settings: SingleSignOn) -> User:
    if not settings.create_accounts:
        raise NotAllowed("no account")
    name = str(claims.get("name") or email.partition("@")[0])[:80]
    try:
        user = service.create(email=email, name=name, roles=roles)
    except Invalid as error:
        raise NotAllowed("invalid") from error
    _link(user, claims, settings)
    return user


def _link(user: User, claims: Mapping[str, Any], settings: SingleSignOn) -> None:
    db.session.add(
        StaffIdentity(
            user_id=user.id, issuer=settings.issuer, subject=str(claims["sub"]), linked_at=clock.now()
        )
    )
    db.session.flush()
    audit.record("staff.sso_linked", object_type="staff", object_id=user.id)
