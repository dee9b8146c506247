"""Record scope: which leads and people a member of staff sees, by role: all, those of the team, or their own.

A lead in crisis is seen by everyone. A person is seen with one of their leads; who has none is seen by all who see
contacts.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, cast, func, or_, select
from sqlalchemy.orm import with_loader_criteria
from sqlalchemy.sql.base import ExecutableOption

from crm.contacts.models import Contact
from crm.core import row_scope
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.leads.queries import CRISIS_KEY
from crm.staff.models import Alert, RecordScope, User

_LEAD, _ALERT = Lead.__table__, Alert.__table__

_CRISES = select(cast(func.split_part(_ALERT.c.key, ":", 2), BigInteger)).where(
    _ALERT.c.key.startswith(CRISIS_KEY), _ALERT.c.closed_at.is_(None)
)


def conditions(user: User) -> Sequence[ExecutableOption]:
    """Return the conditions that the statements of a member of staff must meet; none for one who sees all."""
    scope = scope_of(user)
    if scope is RecordScope.ALL:
        return ()
    theirs = _LEAD.alias("of_person")
    any_lead = select(theirs.c.id).where(theirs.c.contact_id == Contact.id)
    one_seen = any_lead.where(_seen(user, scope, theirs.c))
    return (
        with_loader_criteria(Lead, _seen(user, scope, Lead), include_aliases=True),
        with_loader_criteria(Contact, or_(one_seen.exists(), ~any_lead.exists()), include_aliases=True),
    )


def scope_of(user: User) -> RecordScope:
    """Return the widest scope of a person's roles."""
    scopes = {RecordScope.ALL if role.name == "admin" else role.scope for role in user.roles}
    return next((scope for scope in RecordScope if scope in scopes), RecordScope.OWN)


def _seen(user: User, scope: RecordScope, lead: Any) -> ColumnElement[bool]:
    ways: list[ColumnElement[bool]] = [lead.owner_id == user.id, lead.id.in_(_CRISES)]
    if scope is RecordScope.TEAM:
        ways.append(lead.owner_id.is_(None))
        if user.team:
            team = User.__table__.alias("of_team")
            ways.append(lead.owner_id.in_(select(team.c.id).where(team.c.team == user.team)))
    return or_(*ways)


def keep_in_view(lead_id: int, *, user: User) -> None:
    """Assign a new lead that nobody owns to the member of staff who entered it, if they see only their own."""
    with row_scope.lifted():
        lead = leads.get(lead_id)
        if lead.owner_id is None and scope_of(user) is RecordScope.OWN:
            leads.assign(lead_id=lead.id, version=lead.version, owner_id=user.id)
