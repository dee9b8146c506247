"""The planner wakes due enrolments: one transaction and a constant number of statements per slice.

`rules.decide` decides about each; this module gathers the facts and carries out the decision.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

import structlog
from sqlalchemy import select, text

from crm.audit import service as audit
from crm.consent.queries import refusal_sql
from crm.content import service as content
from crm.core import clock, current
from crm.core.current import PerApp
from crm.core.db import bigint_array, db, rows_as
from crm.core.failpoints import failpoint
from crm.core.queue import INTERRUPTIONS
from crm.core.time_zones import zone_info
from crm.messages import service as messages
from crm.messages.limits import frequency
from crm.messages.limits.send_window import stored_window
from crm.messages.models import StepEmail
from crm.messages.rules import FREQUENCY_CAP, FREQUENCY_SPAN
from crm.sequences import branching, plan_graph, rules
from crm.sequences.models import EmailSequence, SequenceVersion
from crm.sequences.rules import Act, EnrolmentState
from crm.staff import alerts

log = structlog.get_logger()

SLICE = 20_000  # large, so that batches of a dozen contents in two languages are full
SEND_NOW_SPAN = timedelta(hours=1)  # for which an email that staff asked to send now may leave at any hour
HOUR = timedelta(hours=1)
TOO_LATE = timedelta(days=3)  # a step that could not be sent for so long needs a decision of staff

# Since when a step is late: a wait for the send window does not begin anew. Any other change of `due_at` does.
_PLANNED = "coalesce(case when e.waits_until = e.due_at then e.planned_at end, e.due_at)"
_REFUSAL = refusal_sql(topic="s.topic", transactional="false")
# Due first come first; two planners never take the same rows. The topic differs from sequence to sequence.
_DUE = text(f"""
    select e.id, e.contact_id, {_REFUSAL.evidence} as record_id, e.sequence_id, e.version_id, e.step, e.due_at, e.anchor_at,
        {_PLANNED} as planned_at,
        e.send_now and e.due_at > cast(:asked as timestamptz) as send_now,
        {_PLANNED} <= cast(:late as timestamptz) as too_late,
        c.time_zone, c.language, c.snooze_until, {_REFUSAL.reason} as refusal,
        case when c.touched_at > cast(:touched as timestamptz) then c.touched_at + cast(:hold as interval) end as touched_until,
        (select {frequency.SENT_AT} as at {frequency.recent("e.contact_id")}
         order by 1 desc offset cast(:cap as int) - 1 limit 1) as capped_from
    from enrolment e join sequence s on s.id = e.sequence_id join contact c on c.id = e.contact_id
    {_REFUSAL.joins}
    where e.state = 'active' and e.due_at <= :now and s.state = 'live'
    order by e.due_at, e.id limit :limit
    for update of e skip locked
""")


class DueRow(NamedTuple):
    """One due enrolment, as `_DUE` returns it."""

    id: int
    contact_id: int
    record_id: int | None
    sequence_id: int
    version_id: int
    step: int
    due_at: datetime
    anchor_at: datetime
    planned_at: datetime
    send_now: bool
    too_late: bool
    time_zone: str
    language: str
    snooze_until: datetime | None
    refusal: str | None
    touched_until: datetime | None
    capped_from: datetime | None


class DueFacts(NamedTuple):
    """All that a decision may depend on: equal facts, equal decision. `_facts` picks the fields by name."""

    version_id: int
    step: int
    send_now: bool
    too_late: bool
    time_zone: str
    language: str
    snooze_until: datetime | None
    refusal: str | None
    touched_until: datetime | None
    capped_from: datetime | None


class Change(NamedTuple):
    """What the update of an enrolment sets. A handful of changes for thousands of people."""

    state: EnrolmentState
    step: int
    due_at: datetime | None
    reason: str | None
    goes_on: bool
    end_name: str | None
    for_window: bool


class _Same(NamedTuple):
    """What the emails of one batch have in common beside content and language."""

    sequence_id: int
    plan_id: int
    send_now: bool
    hours_late: int  # begun hours, so that no wait is longer than TOO_LATE


UNREADABLE = "plan_unreadable"
NOT_PLANNED = "not_planned"
MOST_SET_ASIDE = 20  # people of one slice; more means that the fault is not theirs
LATER = timedelta(hours=1)  # after which they are tried again
_HOLD = text("""
    update enrolment set state = 'held', due_at = null, reason = :reason where id = any(cast(:ids as bigint[]))
""")

_SET_ASIDE = text("""
    update enrolment set due_at = cast(:until as timestamptz), reason = :reason where id = :id and state = 'active'
""")

NO_BRANCHES: frozenset[int] = frozenset()

_facts = attrgetter(*DueFacts._fields)

_ADVANCE = text(f"""
    update enrolment e set state = u.state, step = u.step, due_at = u.due_at, reason = u.reason, send_now = false,
        planned_at = case when u.for_window then {_PLANNED} end,
        waits_until = case when u.for_window then u.due_at end,
        anchor_at = case when u.goes_on then cast(:now as timestamptz) else e.anchor_at end,
        end_name = u.end_name, left_at = case when u.state in ('completed', 'exited') then cast(:now as timestamptz) end
    from unnest(cast(:ids as bigint[]), cast(:kinds as bigint[])) as one(id, kind)
    join unnest(cast(:states as text[]), cast(:steps as bigint[]), cast(:dues as timestamptz[]),
        cast(:reasons as text[]), cast(:goes_on as boolean[]), cast(:end_names as text[]),
        cast(:for_window as boolean[])) with ordinality
        as u(state, step, due_at, reason, goes_on, end_name, for_window, kind) on u.kind = one.kind
    where e.id = one.id
""")


def plan_due() -> int:
    """Handle one slice of due enrolments; return how many there were (a full slice means: there may be more)."""
    now, hold = clock.now(), current.settings().touch_hold
    found = db.session.execute(
        _DUE,
        {
            "now": now,
            "week": now - FREQUENCY_SPAN,
            "touched": now - hold,
            "hold": hold,
            "cap": FREQUENCY_CAP,
            "asked": now - SEND_NOW_SPAN,
            "late": now - TOO_LATE,
            "limit": SLICE,
        },
    )
    due = rows_as(DueRow, found)
    if due:
        aside = _plan_or_set_aside(_one_of_each_person(due), now, most=MOST_SET_ASIDE)
        if aside:
            _alert_set_aside(aside)
        failpoint("planned")
    return len(due)


def _plan_or_set_aside(rows: Sequence[DueRow], now: datetime, *, most: int) -> list[str]:
    """Plan these enrolments. If that fails, split them in halves until the failing ones are found; set those aside.

    Returns the kind of error of each that was set aside. Raises the error when they are more than `most`.
    """
    try:
        with db.session.begin_nested():
            _plan(rows, now)
    except INTERRUPTIONS:
        raise
    except Exception as error:
        if not most:
            raise
        kind = type(error).__name__
        if len(rows) == 1:
            log.error("sequences.set_aside", enrolment=rows[0].id, error=kind)
            db.session.execute(_SET_ASIDE, {"id": rows[0].id, "until": now + LATER, "reason": NOT_PLANNED})
            return [kind]
        middle = len(rows) // 2
        aside = _plan_or_set_aside(rows[:middle], now, most=most)
        return aside + _plan_or_set_aside(rows[middle:], now, most=most - len(aside))
    return []


def _alert_set_aside(kinds: Sequence[str]) -> None:
    alerts.raise_alert(
        key="not-planned",
        level="danger",
        text=f"The next email of {len(kinds)} people in sequences cannot be planned ({', '.join(sorted(set(kinds)))}). "
        "It is tried again every hour; everyone else gets theirs.",
        link="/console/sequences",
    )


def _plan(rows: Sequence[DueRow], now: datetime) -> None:
    """Decide about these enrolments and carry it out."""
    plans = _plans({row.version_id for row in rows})
    rows = _set_unreadable_aside(rows, plans)
    items = {step.item for plan in plans.values() for step in plan.steps}
    versions = content.newest_approved(items, now=now)
    asked = [(row, branches) for row in rows if (branches := plans[row.version_id].asked(row.step))]
    holding = branching.holding(((row.id, row.contact_id, branches) for row, branches in asked), now=now)
    over = dict(_over(asked, plans))
    decisions = _decide_all(rows, plans, versions, now, holding, over)
    _advance(rows, decisions, now)
    if asked:
        branching.record([(row.id, one.passages) for row, one in zip(rows, decisions, strict=True)], now=now)
    _queue(rows, decisions, plans, versions, now)
    _report(decisions)


def _over(
    asked: Sequence[tuple[DueRow, Sequence[plan_graph.Branch]]], plans: Mapping[int, plan_graph.Plan]
) -> Iterator[tuple[int, datetime]]:
    """Yield (enrolment, when the longest time is over) of those who are at a wait-for."""
    for row, branches in asked:
        here = branches[0]
        if here.waits_for and here.number == row.step:
            window, zone = plans[row.version_id].window, zone_info(row.time_zone)
            yield row.id, plan_graph.wait_over(row.anchor_at, here, window, zone)


def _one_of_each_person(rows: Sequence[DueRow]) -> Sequence[DueRow]:
    """Return one row of each person: the cap counts committed emails only, so a second one is for the next slice."""
    first: dict[int, DueRow] = {}
    for row in rows:
        first.setdefault(row.contact_id, row)
    return list(first.values())


def _set_unreadable_aside(rows: Sequence[DueRow], plans: Mapping[int, plan_graph.Plan]) -> Sequence[DueRow]:
    """Hold the people of a version whose plan cannot be read, with an alert; return the others."""
    unreadable = [row for row in rows if row.version_id not in plans]
    if not unreadable:
        return rows
    db.session.execute(_HOLD, {"ids": bigint_array([row.id for row in unreadable]), "reason": UNREADABLE})
    for sequence_id in sorted({row.sequence_id for row in unreadable}):
        alerts.raise_alert(
            key=f"unreadable-plan:{sequence_id}",
            level="danger",
            text="The plan of a sequence cannot be read. The people in it are on hold; other sequences continue.",
            link=f"/console/sequences/{sequence_id}",
        )
    return [row for row in rows if row.version_id in plans]


def _decide_all(
    rows: Sequence[DueRow],
    plans: Mapping[int, plan_graph.Plan],
    versions: Mapping[tuple[str, str], int],
    now: datetime,
    holding: Mapping[int, frozenset[int]],
    over: Mapping[int, datetime],
) -> list[rules.Decision]:
    """Decide about each enrolment, once for all that share the same facts.

    `holding`: enrolment -> the branches that it may come to now, and whose question is answered with yes. `over`:
    enrolment -> when the longest time is over, of those at a wait-for.
    """
    known: dict[tuple[tuple[object, ...], frozenset[int], datetime | None], rules.Decision] = {}
    decisions = []
    for row in rows:
        key = _facts(row), holding.get(row.id, NO_BRANCHES), over.get(row.id)
        decision = known.get(key)
        if decision is None:
            facts = DueFacts._make(key[0])
            decision = known[key] = _decide(facts, plans[facts.version_id], versions, now, *key[1:])
        decisions.append(decision)
    return decisions


def _decide(
    due: DueFacts,
    plan: plan_graph.Plan,
    versions: Mapping[tuple[str, str], int],
    now: datetime,
    holds: frozenset[int],
    over_at: datetime | None,
) -> rules.Decision:
    facts = rules.Facts(
        step=due.step,
        zone=zone_info(due.time_zone),
        refusal=due.refusal,
        refused_until=due.snooze_until if due.refusal == "snoozed" else None,
        content=False,
        capped_until=due.capped_from + FREQUENCY_SPAN if due.capped_from else None,
        touched_until=due.touched_until,
        send_now=due.send_now,
        too_late=due.too_late,
        holds=holds,
        over_at=over_at,
    )
    email = rules.way(plan, facts, now).node
    if isinstance(email, plan_graph.Step) and (email.item, due.language) in versions:
        facts = replace(facts, content=True)
    return rules.decide(plan, facts, now)


def _plans(version_ids: set[int]) -> dict[int, plan_graph.Plan]:
    known = _known_plans.get()
    missing = [version_id for version_id in version_ids if version_id not in known]
    if missing:
        found = db.session.execute(
            select(SequenceVersion.id, SequenceVersion.plan).where(SequenceVersion.id.in_(missing))
        )
        for version_id, plan in found:
            try:
                known[version_id] = plan_graph.plan_from(plan)
            except ValueError as error:
                log.error("sequence.unreadable", version=version_id, error=str(error))
    return {version_id: known[version_id] for version_id in version_ids & known.keys()}


_known_plans: PerApp[dict[int, plan_graph.Plan]] = PerApp(lambda _settings: {})  # versions never change


def _advance(rows: Sequence[DueRow], decisions: Sequence[rules.Decision], now: datetime) -> None:
    numbers: dict[Change, int] = {}
    kinds = []
    for row, decision in zip(rows, decisions, strict=True):
        kinds.append(numbers.setdefault(_change(row.step, decision), len(numbers) + 1))
    db.session.execute(
        _ADVANCE,
        {
            "now": now,
            "ids": bigint_array([row.id for row in rows]),
            "kinds": bigint_array(kinds),
            "states": [change.state.value for change in numbers],
            "steps": [change.step for change in numbers],
            "dues": [change.due_at for change in numbers],
            "reasons": [change.reason for change in numbers],
            "goes_on": [change.goes_on for change in numbers],
            "end_names": [change.end_name for change in numbers],
            "for_window": [change.for_window for change in numbers],
        },
    )


def _change(step: int, decision: rules.Decision) -> Change:
    state, ending = decision.state, decision.ending
    return Change(
        state,
        step if decision.next_step is None else decision.next_step,
        decision.due_at if state is EnrolmentState.ACTIVE else None,
        decision.reason,
        decision.goes_on,
        ending.name if ending else None,
        decision.act is Act.WAIT and decision.reason is None,
    )


def _queue(
    rows: Sequence[DueRow],
    decisions: Sequence[rules.Decision],
    plans: Mapping[int, plan_graph.Plan],
    versions: Mapping[tuple[str, str], int],
    now: datetime,
) -> None:
    """Queue the emails that are sent, in batches of equal content, language and lateness."""
    groups: dict[_Same, dict[tuple[int, str], list[StepEmail]]] = defaultdict(lambda: defaultdict(list))
    for row, decision in zip(rows, decisions, strict=True):
        if decision.act is Act.SEND:
            plan = plans[row.version_id]
            number = row.step if decision.email is None else decision.email
            item = plan.steps[plan.places[number]].item
            version_id = versions[item, row.language]
            email = StepEmail(row.contact_id, row.record_id, row.id, number)
            same = _Same(row.sequence_id, row.version_id, row.send_now, -((row.planned_at - now) // HOUR))
            groups[same][version_id, row.language].append(email)
    if not groups:
        return
    sequences = {
        one.id: one
        for one in db.session.scalars(
            select(EmailSequence).where(EmailSequence.id.in_({same.sequence_id for same in groups}))
        )
    }
    for same, parts in groups.items():
        sequence = sequences[same.sequence_id]
        messages.queue_batches(
            parts,
            stream=sequence.stream,
            topic=sequence.topic,
            sequence_id=same.sequence_id,
            too_late_at=now + TOO_LATE - (timedelta() if same.send_now else HOUR * same.hours_late),
            window=stored_window(
                plans[same.plan_id].window, any_hour_until=now + SEND_NOW_SPAN if same.send_now else None
            ),
        )


def _report(decisions: Sequence[rules.Decision]) -> None:
    counts = Counter(decision.act.value for decision in decisions)
    audit.record("sequences.planned", detail=dict(counts))
    log.info("sequences.planned", **counts)
    if counts[Act.HOLD]:
        alerts.raise_alert(
            key="content-missing",
            level="warning",
            text="A sequence is on hold for some people: its next email has no approved version in their language.",
            link="/console/sequences",
        )
