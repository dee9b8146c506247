"""Assignment of new leads: round-robin among staff on duty who match language, state and capacity."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.core import clock, us_states
from crm.core.db import db, execute_raw
from crm.core.errors import Invalid
from crm.leads.models import Assignee
from crm.staff.models import User

LANGUAGES = ("en", "es")
CAPACITY_LIMIT = 10_000  # open leads
STATES = frozenset(code for code, _ in us_states.STATES)

# One statement. The leads themselves give the turn: the staff member whose last lead is oldest is next. A rule that names
# the language comes before one for all languages, then one that names the state.
_ASSIGN = """
    with next as (
        select a.user_id from assignee a join "user" u on u.id = a.user_id and u.active and u.practice_id is null
        where a.on_duty and (a.languages = '{}' or :language = any(a.languages))
            and (a.states = '{}' or exists (
                select 1 from lead l join contact c on c.id = l.contact_id
                where l.id = :lead_id and c.state = any(a.states)))
            and (a.capacity is null or a.capacity > (
                select count(*) from (
                    select 1 from lead l where l.owner_id = a.user_id and l.closed_at is null limit a.capacity) full_up))
        order by a.languages = '{}', a.states = '{}',
            (select l.created_at from lead l where l.owner_id = a.user_id order by l.created_at desc, l.id desc limit 1)
                nulls first,
            a.user_id
        limit 1),
    given as (
        update lead set owner_id = next.user_id from next where lead.id = :lead_id and lead.owner_id is null
        returning lead.id, lead.contact_id, lead.owner_id)
    insert into activity (contact_id, lead_id, at, kind, actor, detail)
    select contact_id, id, :now, 'assigned', 'system', jsonb_build_object('owner_id', owner_id, 'by', 'rule') from given
    returning detail
"""


def assign_next(*, lead_id: int, language: str) -> int | None:
    """Assign a new lead to the next staff member; return their id, or None if no one matches."""
    row = execute_raw(_ASSIGN, {"lead_id": lead_id, "language": language, "now": clock.now()}).first()
    if row is None:
        return None
    audit.record_now("lead.assign", object_type="lead", object_id=lead_id, detail=row.detail)
    owner_id: int = row.detail["owner_id"]
    return owner_id


_STAFF = """
    select a.user_id, a.languages, a.states, a.capacity,
        (select count(*) from lead l where l.owner_id = a.user_id and l.closed_at is null) as open,
        (select l.created_at from lead l where l.owner_id = a.user_id order by l.created_at desc, l.id desc limit 1) as last
    from assignee a join "user" u on u.id = a.user_id and u.active and u.practice_id is null
    where a.on_duty order by a.user_id
"""
_GIVE = """
    with given as (
        update lead set owner_id = one.user_id
        from unnest(:lead_id::bigint[], :user_id::bigint[]) as one (lead_id, user_id)
        where lead.id = one.lead_id and lead.owner_id is null
        returning lead.id, lead.contact_id, lead.owner_id)
    insert into activity (contact_id, lead_id, at, kind, actor, detail)
    select contact_id, id, :now, 'assigned', 'system', jsonb_build_object('owner_id', owner_id, 'by', 'rule') from given
"""


@dataclass(frozen=True)
class Unassigned:
    """A new lead of a file, and what the rules ask about it."""

    lead_id: int
    language: str
    state: str | None


def assign_all(leads: Sequence[Unassigned]) -> None:
    """Assign many new leads by the rule of `assign_next`, one after the other, in two statements."""
    staff = [row._asdict() for row in execute_raw(_STAFF, {})] if leads else []
    given = []
    for turn, lead in enumerate(leads):
        able = [one for one in staff if _may_take(one, lead)]
        if able:
            chosen = min(able, key=_turn)
            chosen["open"], chosen["turn"] = chosen["open"] + 1, turn
            given.append((lead.lead_id, chosen["user_id"]))
    if given:
        columns = {"lead_id": [lead for lead, _ in given], "user_id": [user for _, user in given]}
        execute_raw(_GIVE, columns | {"now": clock.now()})


def _may_take(one: Mapping[str, Any], lead: Unassigned) -> bool:
    return (
        (not one["languages"] or lead.language in one["languages"])
        and (not one["states"] or lead.state in one["states"])
        and (one["capacity"] is None or one["capacity"] > one["open"])
    )


def _turn(one: Mapping[str, Any]) -> tuple[Any, ...]:
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
    if user is None or not user.active or user.practice_id is not None:
        wrong["user_id"] = ["Staff member not found."]
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
