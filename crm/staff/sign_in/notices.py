"""Notices about accounts: an email to the owner, and an alert for administrators about guessing."""

from crm.core import events
from crm.core.db import db
from crm.staff import alerts
from crm.staff.events import OwnerNotice
from crm.staff.models import User


def tell_owner(user_id: int, what: str) -> None:
    """Email the owner of a staff account what happened to it. `what` is a key of `crm.staff.texts.NOTICES`."""
    events.publish(OwnerNotice(user_id=user_id, what=what))


def guessed(user_id: int | None, *, what: str) -> None:
    """Tell the owner of an account, and administrators, about tries to guess its secrets."""
    user = db.session.get(User, user_id) if user_id is not None else None
    if user is None or not user.active:
        return
    tell_owner(user.id, "wrong_codes" if what == "codes" else "wrong_tries")
    alerts.raise_alert(
        key=f"guessing:{user.id}",
        level="danger" if what == "codes" else "warning",
        text=f"Five wrong codes after the right password of {user.name}. Ask whether it was them."
        if what == "codes"
        else f"Many wrong tries to sign in as {user.name}.",
        link=f"/console/audit?object_type=staff&object_id={user.id}",
    )


def flooded() -> None:
    """Tell administrators that one network address tries many secrets."""
    alerts.raise_alert(
        key="guessing:address",
        level="warning",
        text="One network address tried many passwords, codes or links within a minute. It is slowed down.",
        link="/console/audit?action=secret.",
    )
