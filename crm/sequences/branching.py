"""What the branches of a slice ask, one statement for each distinct question, and the record of the arms people took."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import text

from crm.core.db import bigint_array, db
from crm.segments.segment_sql import compile_rule
from crm.sequences.plan_graph import Answered, Branch, Delivered, InSegment, Share
from crm.sequences.rules import Passages

_ANSWERED = text("""
    select distinct e.id from enrolment e
    join enrolment same on same.contact_id = e.contact_id and same.sequence_id = e.sequence_id
    join message m on m.enrolment_id = same.id
    join message_answer a on a.message_id = m.id
    where e.id = any(cast(:ids as bigint[])) and a.answer = :answer
        and (cast(:email as bigint) is null or m.step = :email)
""")
_DELIVERED = text("""
    select distinct e.id from enrolment e
    join enrolment same on same.contact_id = e.contact_id and same.sequence_id = e.sequence_id
    join message m on m.enrolment_id = same.id
    where e.id = any(cast(:ids as bigint[])) and m.step = :email
        and m.state in ('delivered', 'unsubscribed', 'complained')
""")
_IN_SEGMENT = """
    select e.id from enrolment e join contact c on c.id = e.contact_id
    where e.id = any(cast(:ids as bigint[])) and {rule}
"""
_RECORD = text("""
    insert into passage (enrolment_id, node, yes, at)
    select enrolment_id, node, yes, cast(:now as timestamptz)
    from unnest(cast(:enrolments as bigint[]), cast(:nodes as bigint[]), cast(:yes as boolean[]))
        as one(enrolment_id, node, yes)
    on conflict (enrolment_id, node) do nothing
""")


_Stored = Answered | InSegment | Delivered  # questions whose answer is in the database


def holding(
    asked: Iterable[tuple[int, int, Sequence[Branch]]], *, now: datetime
) -> Mapping[int, frozenset[int]]:
    """Return enrolment -> numbers of the branches, of those given, whose question is answered with yes.

    `asked`: enrolment, contact, and the branches that they may come to.
    """
    people: dict[_Stored, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    found: dict[int, frozenset[int]] = {}
    for enrolment_id, contact_id, branches in asked:
        for branch in branches:
            if not isinstance(branch.question, Share):
                people[branch.question][enrolment_id].append(branch.number)
            elif branch.question.holds(contact_id):
                found[enrolment_id] = found.get(enrolment_id, frozenset()) | {branch.number}
    for question, numbers in people.items():
        for enrolment_id in _yes(question, list(numbers), now=now):
            found[enrolment_id] = found.get(enrolment_id, frozenset()) | frozenset(numbers[enrolment_id])
    return found


def _yes(question: _Stored, enrolment_ids: Sequence[int], *, now: datetime) -> Iterable[int]:
    """Return for which of these enrolments a question is answered with yes."""
    ids = bigint_array(enrolment_ids)
    match question:
        case Answered(answer, email):
            given = {"ids": ids, "answer": answer.value, "email": email}
            return db.session.scalars(_ANSWERED, given).all()
        case Delivered(email):
            return db.session.scalars(_DELIVERED, {"ids": ids, "email": email}).all()
        case InSegment(rule):
            made = compile_rule(rule, now=now)
            statement = text(_IN_SEGMENT.format(rule=made.sql))
            return db.session.scalars(statement, {"ids": ids, **made.values}).all()


def may_start(starts: InSegment | None, contact_id: int, *, now: datetime) -> bool:
    """Tell whether a person may start now."""
    if starts is None:
        return True
    made = compile_rule(starts.rule, now=now)
    statement = text(f"select true from contact c where c.id = :contact and {made.sql}")
    return bool(db.session.scalar(statement, {"contact": contact_id, **made.values}))


# Driven by those who opted in to the topic. Who was ever in the sequence does not come in again by a segment.
_COME_IN = """
    select c.id from consent_state g join contact c on c.id = g.contact_id
    where g.topic = :topic and g.granted and c.merged_into_id is null and c.erased_at is null
        and not exists (select 1 from enrolment e where e.contact_id = c.id and e.sequence_id = :sequence)
        and {rule}
    order by c.id limit :limit
"""


def come_in(starts: InSegment, *, sequence_id: int, topic: str, limit: int, now: datetime) -> Sequence[int]:
    """Return people who opted in, are in the segment and were never in the sequence."""
    made = compile_rule(starts.rule, now=now)
    given = {"topic": topic, "sequence": sequence_id, "limit": limit, **made.values}
    return db.session.scalars(text(_COME_IN.format(rule=made.sql)), given).all()


def record(passed: Iterable[tuple[int, Passages]], *, now: datetime) -> None:
    """Record which arm each enrolment took."""
    rows = [(enrolment_id, node, yes) for enrolment_id, arms in passed for node, yes in arms]
    if not rows:
        return
    enrolments, nodes, arms = zip(*rows, strict=True)
    given = {"enrolments": bigint_array(enrolments), "nodes": bigint_array(nodes), "yes": list(arms)}
    db.session.execute(_RECORD, {"now": now, **given})
