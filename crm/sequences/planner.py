"""Waking enrolments that are due: one transaction, a constant number of statements per slice, whatever is in the tables.

The decision about each is `rules.decide`; this module only gathers its facts and carries out what it says.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Row, select, text

from crm.audit import service as audit
from crm.consent.queries import EVIDENCE, REFUSAL_CASE, REFUSAL_JOINS
from crm.content import service as content
from crm.core import clock
from crm.core.db import bigint_array, db
from crm.core.failpoints import failpoint
from crm.messages import service as messages
from crm.messages.rules import FREQUENCY_CAP, FREQUENCY_SPAN
from crm.sequences import rules
from crm.sequences.models import EmailSequence as SequenceRow
from crm.sequences.models import SequenceVersion
from crm.staff import alerts

log = structlog.get_logger()

SLICE = 20_000  # large, so that batches of a dozen contents in two languages are full
TOO_LATE = timedelta(days=3)  # a step that could not leave for so long waits for a person's decision

# Due first come first; two planners never take the same rows. The topic differs from sequence to sequence.
_DUE = text(
    f"""
    select e.id, e.contact_id, {EVIDENCE} as record_id, e.sequence_id, e.version_id, e.step, e.send_now,
        c.time_zone, c.language, c.snooze_until, {REFUSAL_CASE} as refusal,
        (select r.created_at from message r
         where r.contact_id = e.contact_id and r.created_at > cast(:week as timestamptz) and r.state is distinct from 'skipped'
            and (r.enrolment_id is not null or r.campaign_id is not null)
         order by r.created_at desc offset cast(:cap as int) - 1 limit 1) as capped_from
    from enrolment e join sequence s on s.id = e.sequence_id join contact c on c.id = e.contact_id
    {REFUSAL_JOINS}
    where e.state = 'active' and e.due_at <= :now
    order by e.due_at, e.id limit :limit
    for update of e skip locked
""".replace(":topic", "s.topic")
)

_ADVANCE = text("""
    update enrolment e set state = u.state, step = u.step, due_at = u.due_at, reason = u.reason, send_now = false,
        anchor_at = case when u.sent then cast(:now as timestamptz) else e.anchor_at end,
        left_at = case when u.state in ('completed', 'exited') then cast(:now as timestamptz) end
    from unnest(cast(:ids as bigint[]), cast(:kinds as bigint[])) as one(id, kind)
    join unnest(cast(:states as text[]), cast(:steps as bigint[]), cast(:dues as timestamptz[]),
        cast(:reasons as text[]), cast(:sents as boolean[])) with ordinality
        as u(state, step, due_at, reason, sent, kind) on u.kind = one.kind
    where e.id = one.id
""")


def plan_due() -> int:
    """Handle one slice of due enrolments; return how many there were (a full slice means: there may be more)."""
    now = clock.now()
    rows = db.session.execute(
        _DUE,
        {
            "now": now,
            "week": now - FREQUENCY_SPAN,
            "cap": FREQUENCY_CAP,
            "limit": SLICE,
            "transactional": False,
        },
    ).all()
    if not rows:
        return 0
    plans = _plans({row.version_id for row in rows})
    items = {step.item for plan in plans.values() for step in plan.steps}
    versions = content.newest(items, now=now)
    decisions = _decide_all(rows, plans, versions, now)
    _advance(rows, decisions, now)
    _queue(rows, decisions, plans, versions, now)
    _tell(decisions)
    failpoint("planned")
    return len(rows)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _decide_all(
    rows: Sequence[Row[Any]],
    plans: Mapping[int, rules.Plan],
    versions: Mapping[tuple[str, str], int],
    now: datetime,
) -> list[rules.Decision]:
    """Decide about each; many people in one slice share all facts, and then the answer is the same."""
    known: dict[Any, rules.Decision] = {}
    decisions = []
    for row in rows:
        facts = row[3:]  # everything but who it is
        decision = known.get(facts)
        if decision is None:
            decision = known[facts] = _decide(row, plans[row.version_id], versions, now)
        decisions.append(decision)
    return decisions


def _decide(
    row: Row[Any], plan: rules.Plan, versions: Mapping[tuple[str, str], int], now: datetime
) -> rules.Decision:
    facts = rules.Facts(
        step=row.step,
        zone=_zone(row.time_zone),
        refusal=row.refusal,
        refused_until=row.snooze_until if row.refusal == "snoozed" else None,
        content=row.step < len(plan.steps) and (plan.steps[row.step].item, row.language) in versions,
        capped_until=row.capped_from + FREQUENCY_SPAN if row.capped_from else None,
        send_now=row.send_now,
    )
    return rules.decide(plan, facts, now)


def _plans(version_ids: set[int]) -> dict[int, rules.Plan]:
    missing = [version_id for version_id in version_ids if version_id not in _known_plans]
    if missing:
        found = db.session.execute(
            select(SequenceVersion.id, SequenceVersion.plan).where(SequenceVersion.id.in_(missing))
        )
        _known_plans.update({version_id: rules.plan_from(plan) for version_id, plan in found})
    return {version_id: _known_plans[version_id] for version_id in version_ids}


_known_plans: dict[int, rules.Plan] = {}  # versions never change


_STATES = {"send": "active", "wait": "active", "hold": "held", "exit": "exited", "complete": "completed"}


def _advance(rows: Sequence[Row[Any]], decisions: Sequence[rules.Decision], now: datetime) -> None:
    kinds: dict[tuple[Any, ...], int] = {}  # change -> its number; a handful for thousands of people
    which = []
    for row, decision in zip(rows, decisions, strict=True):
        sent = decision.act == "send"
        state = "completed" if decision.last else _STATES[decision.act]
        due = decision.due_at if state == "active" else None
        change = (state, row.step + sent, due, decision.reason, sent)
        which.append(kinds.setdefault(change, len(kinds) + 1))
    states, steps, dues, reasons, sents = (list(column) for column in zip(*kinds, strict=True))
    db.session.execute(
        _ADVANCE,
        {
            "now": now,
            "ids": bigint_array(row[0] for row in rows),
            "kinds": bigint_array(which),
            "states": states,
            "steps": steps,
            "dues": dues,
            "reasons": reasons,
            "sents": sents,
        },
    )


def _queue(
    rows: Sequence[Row[Any]],
    decisions: Sequence[rules.Decision],
    plans: Mapping[int, rules.Plan],
    versions: Mapping[tuple[str, str], int],
    now: datetime,
) -> None:
    """Write the messages of those who get one, in batches of equal content and language."""
    groups: dict[int, dict[tuple[int, str], list[tuple[int, int | None, int, int]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row, decision in zip(rows, decisions, strict=True):
        if decision.act == "send":
            item = plans[row.version_id].steps[row.step].item
            version_id = versions[item, row.language]
            groups[row.sequence_id][version_id, row.language].append(
                (row.contact_id, row.record_id, row.id, row.step)
            )
    if not groups:
        return
    sequences = {
        one.id: one for one in db.session.scalars(select(SequenceRow).where(SequenceRow.id.in_(list(groups))))
    }
    for sequence_id, parts in groups.items():
        sequence = sequences[sequence_id]
        messages.queue_batches(
            parts,
            stream=sequence.stream,
            topic=sequence.topic,
            sequence_id=sequence_id,
            too_late_at=now + TOO_LATE,
        )


def _tell(decisions: Sequence[rules.Decision]) -> None:
    counts: dict[str, int] = defaultdict(int)
    for decision in decisions:
        counts[decision.act] += 1
    audit.record("sequences.planned", detail=dict(counts))
    log.info("sequences.planned", **counts)
    if counts["hold"]:
        alerts.raise_alert(
            key="content-missing",
            level="warning",
            text="A sequence waits: its next email has no approved version in somebody's language.",
            link="/console/sequences",
        )
