"""Segments for pages and broadcasts: the newest rules, and who is in one now, and why they could not be emailed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import aliased

from crm.consent.queries import REFUSAL_CASE, REFUSAL_JOINS_AT_ONCE
from crm.contacts.models import STAFF_ADDRESS, Contact
from crm.core import clock
from crm.core.db import db, rows_as
from crm.core.errors import NotFound
from crm.segments import rules
from crm.segments.models import Segment, SegmentRule
from crm.segments.rules import Node
from crm.segments.segment_sql import compile_rule

COUNT_MS = 3_000  # a count that takes longer is ended, and the page says so
SAMPLE = 5
_CANCELED = "57014"


def newest() -> Sequence[SegmentRule]:
    """Return the newest rule of every segment, by name."""
    newer = aliased(SegmentRule)
    last = select(func.max(newer.number)).where(newer.segment_id == SegmentRule.segment_id)
    rows = select(SegmentRule).join(SegmentRule.segment).where(SegmentRule.number == last.scalar_subquery())
    return db.session.scalars(rows.order_by(func.lower(Segment.name))).all()


def newest_of(segment_id: int) -> SegmentRule:
    """Return the newest rule of a segment. Raises NotFound."""
    rows = select(SegmentRule).where(SegmentRule.segment_id == segment_id)
    found = db.session.scalars(rows.order_by(SegmentRule.number.desc()).limit(1)).first()
    if found is None:
        raise NotFound("Segment not found.")
    return found


def rules_of(ids: Iterable[int]) -> dict[int, SegmentRule]:
    """Return id of a rule -> the rule."""
    rows = select(SegmentRule).where(SegmentRule.id.in_(set(ids)))
    return {rule.id: rule for rule in db.session.scalars(rows)}


@dataclass(frozen=True, kw_only=True)
class Count:
    """Who is in a segment now."""

    people: int
    reachable: int  # of these, who could be emailed on the topic
    reasons: Mapping[str, int]  # why the others could not
    sample: Sequence[int]  # contact ids


class _Reason(NamedTuple):
    reason: str | None
    people: int
    sample: list[int]


_COUNT = """
    select reason, count(*) as people, (array_agg(id order by id))[1:{sample}] as sample from (
        select c.id, {reason} as reason from contact c {joins}
        where c.merged_into_id is null and c.erased_at is null
            and not exists (select 1 from contact_tag t where t.contact_id = c.id and t.tag = :staff_address)
            and {rule}
    ) found group by reason order by people desc, reason
"""


def count(rule: Node, *, topic: str) -> Count | None:
    """Count the people of a rule, and those who could be emailed on a topic; None when it takes too long."""
    now = clock.now()
    made = compile_rule(rule, now=now)
    statement = _COUNT.format(reason=REFUSAL_CASE, joins=REFUSAL_JOINS_AT_ONCE, rule=made.sql, sample=SAMPLE)
    given = {
        "topic": topic,
        "transactional": False,
        "now": now,
        "staff_address": STAFF_ADDRESS,
        **made.values,
    }
    found = _limited(statement, given)
    if found is None:
        return None
    reachable = sum(row.people for row in found if row.reason is None)
    ids = sorted(contact_id for row in found for contact_id in row.sample)
    return Count(
        people=sum(row.people for row in found),
        reachable=reachable,
        reasons={row.reason: row.people for row in found if row.reason is not None},
        sample=ids[:SAMPLE],
    )


def _limited(statement: str, given: Mapping[str, Any]) -> list[_Reason] | None:
    """Run a statement for at most COUNT_MS."""
    before = db.session.scalar(text("select current_setting('statement_timeout')"))
    try:
        with db.session.begin_nested():
            _set_timeout(str(COUNT_MS))
            found = rows_as(_Reason, db.session.execute(text(statement), given))
            _set_timeout(str(before))
            return found
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _CANCELED:
            raise
        return None


def _set_timeout(value: str) -> None:
    db.session.execute(text("select set_config('statement_timeout', :value, true)"), {"value": value})


def contains(rule: Node, contact_id: int) -> bool:
    """Tell whether a person is in a segment now."""
    made = compile_rule(rule, now=clock.now())
    found = db.session.scalar(
        text(f"select true from contact c where c.id = :contact and {made.sql}"),
        {"contact": contact_id, **made.values},
    )
    return bool(found)


def rule_of(segment_rule: SegmentRule) -> Node:
    """Return the parsed rule."""
    return rules.parse(segment_rule.rule)


def names_of(contact_ids: Iterable[int]) -> dict[int, str]:
    """Return id -> name of people."""
    rows = select(Contact.id, Contact.first_name, Contact.last_name).where(Contact.id.in_(list(contact_ids)))
    return {row.id: f"{row.first_name} {row.last_name}".strip() for row in db.session.execute(rows)}
