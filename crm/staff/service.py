"""Staff accounts: create, change roles, disable, sign-in links, passwords."""

import secrets
import unicodedata
from collections.abc import Collection, Sequence
from datetime import timedelta

from email_validator import EmailNotValidError, validate_email
from flask_security import hash_password
from sqlalchemy import select

from crm.audit import service as audit
from crm.core import clock, events, time_zones, tokens
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.tokens import Purpose
from crm.staff import access, rules
from crm.staff.events import StaffLinkMade
from crm.staff.models import RecordScope, Role, SignInLink, User
from crm.staff.one_time_links import LINK_LIFE, OneTimeLinks
from crm.staff.sign_in import notices, own_sessions


def get(user_id: int) -> User:
    """Return a member of staff. Raises NotFound."""
    user = db.session.get(User, user_id)
    if user is None or user.practice_id is not None:
        raise NotFound("Staff member not found.")
    return user


def by_email(email: str) -> User:
    """Return the account with this address, typed in any case. Raises NotFound."""
    user = db.session.scalar(select(User).where(User.email == email.strip().lower()))
    if user is None:
        raise NotFound("No account with this address found.")
    return user


def everyone() -> Sequence[User]:
    """Return all staff members: active ones first, then by name."""
    return db.session.scalars(
        select(User).where(User.practice_id.is_(None)).order_by(User.active.desc(), User.name, User.id)
    ).all()


def at_work() -> Sequence[User]:
    """Return the staff members with an active account, by name."""
    return [user for user in everyone() if user.active]


TEAM_LIMIT = 40  # characters


def lead_workers() -> Sequence[User]:
    """Return the staff members with an active account whose role may work leads, by name."""
    return [user for user in at_work() if may_work_leads(user)]


def able_to(permission: str) -> list[User]:
    """Return the staff members at work who have this permission."""
    return [
        user for user in at_work() if access.has_permission((role.name for role in user.roles), permission)
    ]


def may_work_leads(user: User) -> bool:
    """Return whether leads and tasks may be given to a user."""
    is_staff = user.active and user.practice_id is None
    return is_staff and access.has_permission((role.name for role in user.roles), "work_leads")


def create(*, email: str, name: str, roles: Collection[str], demo: bool = False) -> User:
    """Create an account without a password, which the person sets after signing in by link. Raises Invalid."""
    address, wrong = _address(email), {}
    if address is None:
        wrong["email"] = ["Enter an email address, such as name@clinic.example."]
    elif db.session.scalar(select(User.id).where(User.email == address)) is not None:
        wrong["email"] = ["An account with this address already exists."]
    if not 0 < len(name.strip()) <= 80:
        wrong["name"] = ["Enter a name of up to 80 characters."]
    if not roles or set(roles) - set(access.ROLES):
        wrong["roles"] = ["Choose at least one role."]
    if wrong or address is None:
        raise Invalid(wrong)
    user = User(
        email=address,
        name=name.strip(),
        active=True,
        fs_uniquifier=secrets.token_hex(32),
        confirmed_at=clock.now(),
        created_at=clock.now(),
        demo=demo,
        roles=_roles(roles),
    )
    db.session.add(user)
    db.session.flush()
    audit.record("staff.create", object_type="staff", object_id=user.id, detail={"roles": sorted(roles)})
    return user


def _address(email: str) -> str | None:
    try:
        return validate_email(email.strip(), check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return None


def _roles(names: Collection[str]) -> list[Role]:
    found = {role.name: role for role in db.session.scalars(select(Role).where(Role.name.in_(names)))}
    for name in set(names) - set(found):
        found[name] = Role(name=name, description=access.ROLES[name])
        db.session.add(found[name])
    return [found[name] for name in sorted(names)]


def set_roles(*, user_id: int, roles: Collection[str]) -> None:
    """Change the roles of a staff member and end their sessions, so the new roles apply at once. Raises Invalid, Conflict."""
    user = get(user_id)
    if not roles or set(roles) - set(access.ROLES):
        raise Invalid({"roles": ["Choose at least one role."]})
    if "admin" not in roles:
        _keep_an_admin(user)
    was = sorted(role.name for role in user.roles)
    user.roles = _roles(roles)
    _end_sign_ins(user)
    notices.tell_owner(user.id, "roles")
    detail = {"was": was, "now": sorted(roles)}
    audit.record("staff.roles", object_type="staff", object_id=user.id, detail=detail)


def scopes() -> dict[str, RecordScope]:
    """Return role -> which leads and people it sees. An administrator sees all."""
    stored = {role.name: role.scope for role in db.session.scalars(select(Role))}
    return {name: stored.get(name, RecordScope.ALL) for name in access.ROLES if name != "admin"}


def set_scope(*, role: str, scope: str) -> None:
    """Set which leads and people a role sees. Raises Invalid."""
    if role not in access.ROLES or role == "admin" or scope not in set(RecordScope):
        raise Invalid({"scope": ["Choose which leads the role sees."]})
    (row,) = _roles([role])
    was, row.scope = row.scope, RecordScope(scope)
    audit.record("role.scope", object_type="role", detail={"role": role, "was": was, "now": scope})


def set_team(*, user_id: int, team: str) -> None:
    """Set the team of a staff member; an empty name for none. Raises Invalid, NotFound."""
    team = " ".join(team.split())
    if len(team) > TEAM_LIMIT:
        raise Invalid({"team": [f"Use up to {TEAM_LIMIT} characters."]})
    get(user_id).team = team or None
    audit.record("staff.team", object_type="staff", object_id=user_id)


def disable(*, user_id: int) -> None:
    """Close an account; its sessions end with the next request. Raises Conflict, NotFound."""
    user = get(user_id)
    if audit.current().actor == f"staff:{user_id}":
        raise Conflict("You cannot close your own account. Ask another administrator.")
    _keep_an_admin(user)
    user.active = False
    _end_sign_ins(user)
    LINKS.void(user)
    notices.tell_owner(user.id, "closed")
    audit.record("staff.disable", object_type="staff", object_id=user.id)


def enable(*, user_id: int) -> None:
    """Reopen a closed account. Raises NotFound."""
    user = get(user_id)
    user.active = True
    notices.tell_owner(user.id, "reopened")
    audit.record("staff.enable", object_type="staff", object_id=user.id)


def _keep_an_admin(user: User) -> None:
    query = select(User.id).where(User.active, User.roles.any(Role.name == "admin")).with_for_update()
    if rules.last_admin(db.session.scalars(query).all(), leaving=user.id):
        raise Conflict("This is the last administrator. Make another staff member an administrator first.")


def _end_sign_ins(user: User) -> None:
    user.fs_uniquifier = secrets.token_hex(32)  # every session carries it, so every session ends
    own_sessions.end_all(user.id)


def sign_out_everywhere(user: User) -> None:
    """Sign this person out on all devices."""
    _end_sign_ins(user)
    audit.record("staff.sign_out", object_type="staff", object_id=user.id)


def set_password(*, user: User, password: str) -> None:
    """Set a new password and end all other sessions. Raises Invalid if it is short or easy to guess."""
    password = unicodedata.normalize("NFKD", password)
    why_not = rules.password_refused(password, about=(user.name, user.email))
    if why_not is not None:
        raise Invalid({"password": [why_not]})
    user.password = hash_password(password)
    _end_sign_ins(user)
    notices.tell_owner(user.id, "password")
    audit.record("staff.password", object_type="staff", object_id=user.id)


def set_alert_emails(*, user: User, wanted: bool) -> None:
    """Set whether this person gets emails about alerts."""
    user.alert_emails = wanted
    audit.record("user.alert_emails", object_type="user", object_id=user.id, detail={"wanted": wanted})


def set_time_zone(*, user: User, zone: str) -> None:
    """Set the time zone in which this person sees times. Raises Invalid."""
    stored = time_zones.canonical(zone)
    if stored is None:
        raise Invalid({"time_zone": ["Choose a time zone from the list."]})
    user.time_zone = stored


def remove_two_step(*, user_id: int, end_sessions: bool = True) -> None:
    """Remove the authenticator app of a staff member, for example after a lost phone. Raises NotFound."""
    user = get(user_id)
    user.tf_primary_method = user.tf_totp_secret = user.mf_recovery_codes = None
    if end_sessions:
        _end_sign_ins(user)
    notices.tell_owner(user.id, "two_step_off")
    audit.record("staff.second_factor_dropped", object_type="staff", object_id=user.id)


def note_second_factor(*, user_id: int) -> None:
    """Record a new authenticator app; the recovery codes of the one before end. Raises NotFound."""
    user = get(user_id)
    user.mf_recovery_codes = None
    notices.tell_owner(user.id, "two_step_on")
    audit.record("staff.second_factor", object_type="staff", object_id=user.id)


def note_recovery_codes(*, user_id: int, used: bool) -> None:
    """Record that recovery codes were made, or that one was used."""
    notices.tell_owner(user_id, "recovery_used" if used else "recovery_made")
    action = "staff.recovery_code_used" if used else "staff.recovery_codes_made"
    audit.record(action, object_type="staff", object_id=user_id)


LINKS = OneTimeLinks(
    table=SignInLink,
    owner=SignInLink.user_id,
    account=User,
    active=User.active.expression,
    purpose=Purpose.SIGN_IN,
    expired="This link was used or has expired. Request a new one, or sign in with your password.",
)


def sign_in_link(*, user: User, life: timedelta = LINK_LIFE, by_owner: bool = False) -> str:
    """Return the token of a link that signs this person in once, within `life`.

    Unless its owner asked for it, the session it begins is marked with who did.
    """
    return tokens.sign(Purpose.SIGN_IN, _make_link(user, life=life, by_owner=by_owner))


def _make_link(user: User, *, life: timedelta, by_owner: bool) -> int:
    link_id = LINKS.make(user, life=life)
    db.session.get_one(SignInLink, link_id).made_by = None if by_owner else audit.current().actor
    audit.record("staff.link_made", object_type="staff", object_id=user.id)
    return link_id


def mail_link(*, user: User, life: timedelta = LINK_LIFE, by_owner: bool = False) -> None:
    """Email a sign-in link to the mailbox of its owner: nobody else gets to see it. Raises Conflict without a text."""
    link_id = _make_link(user, life=life, by_owner=by_owner)
    events.publish(StaffLinkMade(user_id=user.id, link_id=link_id))


def ask_link(email: str) -> None:
    """Email a sign-in link to this address if it has an active account; never reveal whether it has."""
    user = db.session.scalar(select(User).where(User.email == email.strip().lower(), User.active))
    if user is not None and user.practice_id is None:
        mail_link(user=user, by_owner=True)


def use_link(token: str) -> tuple[User, str | None]:
    """Use a link up; return the account it signs in, and the actor who made it unless its owner did. Raises NotFound."""
    user = LINKS.use(token)
    link_id, _ = tokens.read(Purpose.SIGN_IN, token)
    return user, db.session.get_one(SignInLink, link_id).made_by


def names_of(actors: Collection[str]) -> dict[str, str]:
    """Return actor -> name for the members of staff among actors such as "staff:7"."""
    ids = {int(actor[6:]) for actor in actors if actor.startswith("staff:") and actor[6:].isdigit()}
    if not ids:
        return {}
    rows = db.session.execute(select(User.id, User.name).where(User.id.in_(ids)))
    return {f"staff:{row.id}": row.name for row in rows}
