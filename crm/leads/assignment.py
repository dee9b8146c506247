"""Assignment of new leads: round-robin among staff on duty who match language, state and capacity."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.core import clock, us_states
from crm.core.db import db, execute_raw
from crm.core.errors import Invalid
from crm.leads.models import Assignee
from crm.staff import access
from crm.staff import service as staff
from crm.staff.models import User
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind

LANGUAGES = ("en", "es")
EACH = 5  # leads assigned at once that have a notification each
CAPACITY_LIMIT = 10_000  # open leads
_DETAIL = "jsonb_build_object('owner_id', owner_id, 'by', 'rule')"
STATES = frozenset(code for code, _ in us_states.STATES)

# Whose role may work leads.
_WORKS = f"""
    u.active and u.practice_id is null and exists (
        select 1 from user_role ur join role r on r.id = ur.role_id
        where ur.user_id = u.id and r.name in ({", ".join(f"'{role}'" for role in sorted(access.PERMISSIONS["work_leads"]))}))
"""

# The leads themselves give the turn: the staff member whose last lead is oldest is next. Open leads are counted as far as
# the capacity asks.
_STAFF = f"""
    select a.user_id, a.languages, a.states, a.capacity,
        (select count(*) from (
            select 1 from lead l where l.owner_id = a.user_id and l.closed_at is null limit coalesce(a.capacity, 0)
        ) counted) as open,
        (select l.created_at from lead l where l.owner_id = a.user_id order by l.created_at desc, l.id desc limit 1) as last
    from assignee a join "user" u on u.id = a.user_id and {_WORKS}
    where a.on_duty order by a.user_id
"""
_LEADS = """
    select l.id, c.language, c.state from lead l join contact c on c.id = l.contact_id
    where l.id = any(:ids::bigint[]) and l.owner_id is null order by l.id
"""
_GIVE = f"""
    with given as (
        update lead set owner_id = one.user_id
        from unnest(:lead_id::bigint[], :user_id::bigint[]) as one (lead_id, user_id)
        where lead.id = one.lead_id and lead.owner_id is null
        returning lead.id, lead.contact_id, lead.owner_id, lead.reference),
    noted as (
        insert into activity (contact_id, lead_id, at, kind, actor, detail)
        select contact_id, id, :now, 'assigned', 'system', {_DETAIL} from given)
    select id, owner_id, reference, {_DETAIL} as detail from given
"""


def assign_new(lead_ids: Sequence[int]) -> None:
    """Assign new leads, one after the other, each to the staff member whose turn it is; leave those nobody may take.

    Every way in ends here: the form, the API, the portal, an entry by hand with one lead, a file with a thousand.
    """
    staff = [row._asdict() for row in execute_raw(_STAFF, {})] if lead_ids else []
    if not staff:
        return
    given: dict[int, int] = {}
    for turn, lead in enumerate(execute_raw(_LEADS, {"ids": list(lead_ids)})):
        if able := [one for one in staff if _may_take(one, lead)]:
            chosen = min(able, key=_turn)
            chosen["open"], chosen["turn"] = chosen["open"] + 1, turn
            given[lead.id] = chosen["user_id"]
    if given:
        columns = {"lead_id": list(given), "user_id": list(given.values())}
        rows = execute_raw(_GIVE, columns | {"now": clock.now()}).all()
        for row in rows:
            audit.record("lead.assign", object_type="lead", object_id=row.id, detail=row.detail)
        _notify(rows)


def _notify(rows: Sequence[Row[Any]]) -> None:
    """Notify the new owners: of each lead, or in one line of the many of a file."""
    given: dict[int, list[str]] = {}
    for row in rows:
        given.setdefault(row.owner_id, []).append(row.reference)
    for owner_id, references in given.items():
        if len(references) > EACH:
            notifications.notify(
                [owner_id],
                kind=NotificationKind.ASSIGNED,
                subject=f"{len(references)} leads",
                link="/console/leads?owner=me",
            )
            continue
        for reference in references:
            notifications.about_lead(owner_id, kind=NotificationKind.ASSIGNED, reference=reference)


def _may_take(one: Mapping[str, Any], lead: Row[Any]) -> bool:
    return (
        (not one["languages"] or lead.language in one["languages"])
        and (not one["states"] or lead.state in one["states"])
        and (one["capacity"] is None or one["capacity"] > one["open"])
    )


def _turn(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """A rule that names the language comes before one for all languages, then one that names the state."""
    last = one["last"].timestamp() if one["last"] else -1.0
    return not one["languages"], not one["states"], one.get("turn", -1), last, one["user_id"]


def assignees() -> Sequence[Assignee]:
    """Return the assignment rules."""
    return db.session.scalars(select(Assignee).order_by(Assignee.user_id)).all()


def set_assignee(
    *,
    user_id: int,
    languages: Collection[str] = (),
    states: Collection[str] = (),
    capacity: int | None = None,
    on_duty: bool = True,
) -> None:
    """Set the assignment rule of a staff member. `states` are where people live, two letters each. Raises Invalid."""
    user = db.session.get(User, user_id)
    wrong = {}
    if user is None or not staff.may_work_leads(user):
        wrong["user_id"] = ["Choose a staff member who may work leads."]
    if not set(languages) <= set(LANGUAGES):
        wrong["languages"] = ["Choose English, Spanish, both, or neither for all."]
    if not set(states) <= STATES:
        wrong["states"] = ["Enter states by their two letters, such as CA, NV, or leave this empty."]
    if capacity is not None and not 0 < capacity <= CAPACITY_LIMIT:
        wrong["capacity"] = ["Enter the maximum number of open leads, or leave this empty."]
    if wrong:
        raise Invalid(wrong)
    values = {
        "languages": sorted(set(languages)),
        "states": sorted(set(states)),
        "capacity": capacity,
        "on_duty": on_duty,
    }
    row = insert(Assignee).values(user_id=user_id, **values)
    db.session.execute(row.on_conflict_do_update(index_elements=["user_id"], set_=values))
    audit.record("assignment.set", object_type="staff", object_id=user_id, detail=values)


def remove_assignee(*, user_id: int) -> None:
    """Remove the assignment rule of a staff member."""
    db.session.execute(delete(Assignee).where(Assignee.user_id == user_id))
    audit.record("assignment.unset", object_type="staff", object_id=user_id)
