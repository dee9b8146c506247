"""A segment's rule as SQL: one expression about a contact. Fixed fragments; every value is a bound parameter.

Each condition is true or false, never NULL, so that NOT means the opposite.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from crm.segments.rules import FIELDS, All, AnyOf, Condition, Node, Not, Shape

_LEAD = "exists (select 1 from lead l where l.contact_id = {c}.id and l.{column} = any({values}))"
_ENROLMENT = (
    "exists (select 1 from enrolment e join sequence s on s.id = e.sequence_id "
    "where e.contact_id = {{c}}.id and s.key = any({{values}}) and e.state in ({states}))"
)
_CHOICES: Mapping[str, str] = {
    "tag": "exists (select 1 from contact_tag t where t.contact_id = {c}.id and t.tag = any({values}))",
    "language": "{c}.language = any({values})",
    "us_state": "coalesce({c}.state = any({values}), false)",
    "consent": "exists (select 1 from consent_state g where g.contact_id = {c}.id and g.granted "
    "and g.topic = any({values}))",
    "stage": _LEAD.replace("{column}", "stage"),
    "source": _LEAD.replace("{column}", "source"),
    "practice": "exists (select 1 from lead l join referral r on r.lead_id = l.id "
    "where l.contact_id = {c}.id and r.practice_id::text = any({values}))",
    "sequence": _ENROLMENT.format(states="'active', 'paused', 'held'"),
    "sequence_completed": _ENROLMENT.format(states="'completed'"),
    "sequence_exited": _ENROLMENT.format(states="'exited'"),
}
# field -> the events of a person as "from ... where", the column of the time, the expression of the value
_EVENTS: Mapping[str, tuple[str, str, str]] = {
    "lead_opened": ("lead v where v.contact_id = {c}.id", "v.created_at", ""),
    "confirmed": (
        "consent_record v where v.contact_id = {c}.id and v.action = 'granted' and v.source = 'confirm_link'",
        "v.at",
        "",
    ),
    "booked": (
        "lead l join consultation v on v.lead_id = l.id where l.contact_id = {c}.id and v.first_id is null",
        "v.created_at",
        "",
    ),
    "email_sent": (
        "message v join batch b on b.id = v.batch_id join content_version cv on cv.id = v.content_version_id "
        "join content_item i on i.id = cv.item_id where v.contact_id = {c}.id and b.kind <> 'transactional' "
        "and coalesce(v.state, b.state) not in ('ready', 'held', 'sending', 'skipped', 'failed', 'cancelled')",
        "v.created_at",
        "i.key",
    ),
}
_SHARE = (
    "(('x' || substr(encode(sha256(convert_to({name} || ':' || {c}.id, 'UTF8')), 'hex'), 1, 8))::bit(32)::bigint "
    "% 100 < {percent})"
)


@dataclass
class Compiled:
    """An expression, and the values of its parameters."""

    now: datetime
    contact: str
    prefix: str
    sql: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any, kind: str) -> str:
        """Add a parameter; return how the expression reads it."""
        name = f"{self.prefix}{len(self.values)}"
        self.values[name] = value
        return f"cast(:{name} as {kind})"


def compile_rule(rule: Node, *, now: datetime, contact: str = "c", prefix: str = "segment_") -> Compiled:
    """Compile a rule for statements in which the contact is called `contact`. `prefix` begins its parameters."""
    made = Compiled(now=now, contact=contact, prefix=prefix)
    made.sql = _compiled(rule, made)
    return made


def _compiled(node: Node, made: Compiled) -> str:
    match node:
        case All(parts):
            return "(" + (" and ".join(_compiled(part, made) for part in parts) or "true") + ")"
        case AnyOf(parts):
            return "(" + (" or ".join(_compiled(part, made) for part in parts) or "false") + ")"
        case Not(part):
            return f"(not {_compiled(part, made)})"
        case Condition():
            return _condition(node, made)


def _condition(condition: Condition, made: Compiled) -> str:
    match FIELDS[condition.field]:
        case Shape.CHOICE:
            values = made.bind(list(condition.values), "text[]")
            return _CHOICES[condition.field].format(c=made.contact, values=values)
        case Shape.EVENT:
            return _event(condition, made)
        case Shape.SHARE:
            name, percent = made.bind(condition.values[0], "text"), made.bind(condition.times, "int")
            return _SHARE.format(c=made.contact, name=name, percent=percent)


def _event(condition: Condition, made: Compiled) -> str:
    rows, at, value = _EVENTS[condition.field]
    found = f"select 1 from {rows.format(c=made.contact)}"
    if condition.days is not None:
        found += f" and {at} > {made.bind(made.now - timedelta(days=condition.days), 'timestamptz')}"
    if condition.values:
        found += f" and {value} = any({made.bind(list(condition.values), 'text[]')})"
    if condition.times == 1:  # PostgreSQL can join this as a set; a count it asks person by person
        return f"exists ({found})"
    times = made.bind(condition.times, "int")
    return f"((select count(*) from ({found} limit {times}) enough) >= {times})"
