"""The next version of a sequence: drafting it, a second person's approval, publishing, and moving people to it.

Approval starts a time in which it can be undone; nothing changes before that time is over. Then the version exists, and
people move in slices, each in a transaction of its own: a crash repeats or loses nobody, because a person who moved no
longer has the old version.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import select, text

from crm.audit import service as audit
from crm.content import service as content
from crm.core import clock
from crm.core import current as current_app
from crm.core.db import bigint_array, db, rows_as
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound
from crm.core.queue import enqueue
from crm.core.text import clean
from crm.core.time_zones import zone_info
from crm.messages.rules import ENDING_ANSWERS, Answer
from crm.segments import queries as segments
from crm.sequences import plan_edits, plan_graph, queries, simulator, version_change
from crm.sequences.models import EmailSequence, SequenceDraft, SequenceVersion
from crm.sequences.plan_edits import Finding, Spot
from crm.sequences.plan_graph import Wait
from crm.sequences.rules import UNDER_WAY, DraftState, SequenceState
from crm.sequences.simulator import BuiltIn, Line, Persona, Problem
from crm.sequences.version_change import Fate, Group, Outcome, People, Row
from crm.staff import alerts

UNDO_WITHIN = timedelta(minutes=10)
SLICE = 2_000  # people who move in one transaction
MOVING = (Fate.MOVES, Fate.CHANGES, Fate.ENDS)
OUTDATED = "This sequence got a newer version meanwhile. Discard this draft and begin another one."
REHEARSAL_FAILED = "A rehearsal of this draft found a fault. Look at the rehearsals in the review."
LANGUAGE_NAMES = {"en": "English", "es": "Spanish"}

Plan = dict[str, Any]


def current(sequence_id: int) -> SequenceDraft | None:
    """Return the draft that is under way."""
    return db.session.scalar(
        select(SequenceDraft)
        .where(SequenceDraft.sequence_id == sequence_id, SequenceDraft.state.in_(UNDER_WAY))
        .execution_options(populate_existing=True)
    )


def under_way(sequence_id: int) -> SequenceDraft:
    """Return the draft that is under way. Raises NotFound."""
    found = current(sequence_id)
    if found is None:
        raise NotFound("This sequence has no draft.")
    return found


def begin(sequence_id: int) -> SequenceDraft:
    """Return the draft of a sequence, a new one from its newest version if none is under way. Raises Conflict."""
    found = current(sequence_id)
    if found is not None:
        return found
    sequence = db.session.scalar(
        select(EmailSequence).where(EmailSequence.id == sequence_id).with_for_update()
    )
    base = queries.newest_version(sequence_id)
    if sequence is None or base is None:
        raise NotFound("Sequence not found.")
    if sequence.state is SequenceState.RETIRED:
        raise Conflict("This sequence is retired.")
    now = clock.now()
    made = SequenceDraft(
        sequence_id=sequence_id,
        base_id=base.id,
        plan=plan_edits.numbered(base.plan, earlier=_plans(sequence_id)),
        people=People.FINISH,
        state=DraftState.OPEN,
        created_at=now,
        edited_by=audit.current().actor,
        edited_at=now,
    )
    db.session.add(made)
    db.session.flush()
    audit.record("sequence.draft_begun", object_type="sequence", object_id=sequence_id)
    return made


def add(sequence_id: int, *, base: int, item: str, wait: Wait, after: Spot) -> None:
    """Add an approved email. Raises Invalid, or Conflict when another person changed the draft meanwhile."""
    choices = {key for key, _ in queries.addable(sequence_id)}
    if item not in choices:
        raise Invalid({"item": ["Choose an approved email of this kind of mail."]})

    def added(draft: SequenceDraft) -> Plan:
        earlier = [*_plans(sequence_id), draft.plan]
        number = plan_edits.number_of_item(earlier).get(item, plan_edits.next_number(earlier))
        return plan_edits.add(draft.plan, item=item, wait=wait, after=after, number=number)

    _edit(sequence_id, base=base, what="add", edit=added)


def add_branch(
    sequence_id: int, *, base: int, question: str, about: int | None, wait: Wait, after: Spot
) -> None:
    """Add a branch. `question`: "segment:<id of its rule>" or "answer:<answer>", the latter to the email `about` or any.

    Raises Invalid.
    """
    ask = _stored_question(question, about)
    _insert(sequence_id, base, after, lambda number: plan_edits.branch(ask, wait=wait, number=number))


def add_wait_for(
    sequence_id: int, *, base: int, fact: str, about: int | None, wait: Wait, after: Spot
) -> None:
    """Add a wait for a fact, at most as long as `wait`.

    `fact`: "answer:<answer>" or "delivered", to or of the email `about`, "booked", or "stage:<stage>". Raises Invalid.
    """
    ask = _stored_fact(fact, about)
    _insert(sequence_id, base, after, lambda number: plan_edits.wait_for(ask, wait=wait, number=number))


def _stored_fact(fact: str, about: int | None) -> Plan:
    kind, _, value = fact.partition(":")
    match kind:
        case "delivered" if about is not None:
            return {"delivered": about}
        case "delivered":
            raise Invalid({"about": ["Choose the email."]})
        case "booked":
            return {"rule": {"field": "booked"}}
        case "stage" if value in plan_edits.OPEN_STAGES:
            return {"rule": {"field": "stage", "values": [value]}}
        case "answer":
            return _stored_question(fact, about)
    raise Invalid({"question": ["Choose what to wait for."]})


def add_split(sequence_id: int, *, base: int, percent: str, wait: Wait, after: Spot) -> None:
    """Add a split, of which `percent` of people go way A. Raises Invalid."""

    def made(number: int) -> Plan:
        return plan_edits.split(percent, wait=wait, number=number, sequence_id=sequence_id)

    _insert(sequence_id, base, after, made)


def _stored_question(question: str, about: int | None) -> Plan:
    kind, _, value = question.partition(":")
    if kind == "answer" and value in set(Answer) - ENDING_ANSWERS:
        return {"answer": value} | ({} if about is None else {"email": about})
    if kind == "segment" and value.isdecimal() and len(value) < 12:
        rule = segments.rules_of([int(value)]).get(int(value))
        if rule is not None:
            return {"segment_rule": rule.id, "rule": rule.rule}
    raise Invalid({"question": ["Choose what the branch asks."]})


def start_with(sequence_id: int, *, base: int, rule_id: int | None) -> None:
    """Let only people of a segment start, or (None) everyone who opts in. Raises Invalid."""
    segment = None if rule_id is None else _stored_question(f"segment:{rule_id}", None)
    _edit(
        sequence_id,
        base=base,
        what="start",
        edit=lambda draft: plan_edits.start_with(draft.plan, segment),
    )


def add_pause(sequence_id: int, *, base: int, wait: Wait, after: Spot) -> None:
    """Add a wait without an email. Raises Invalid."""
    _insert(sequence_id, base, after, lambda number: plan_edits.pause(wait=wait, number=number))


def add_ending(sequence_id: int, *, base: int, kind: str, name: str, after: Spot) -> None:
    """Add a goal, an exit or an end, with the name that is recorded. Raises Invalid."""
    said = clean(name, lines=False)
    _insert(sequence_id, base, after, lambda number: plan_edits.ending(kind, name=said, number=number))


def _insert(sequence_id: int, base: int, after: Spot, make: Callable[[int], Plan]) -> None:
    def inserted(draft: SequenceDraft) -> Plan:
        number = plan_edits.next_number([*_plans(sequence_id), draft.plan])
        return plan_edits.insert(draft.plan, make(number), spot=after)

    _edit(sequence_id, base=base, what="add", edit=inserted)


def move(sequence_id: int, *, base: int, number: int, by: int) -> None:
    """Move an email up or down."""
    _edit(sequence_id, base=base, what="move", edit=lambda draft: plan_edits.move(draft.plan, number, by=by))


def retime(sequence_id: int, *, base: int, number: int, wait: Wait) -> None:
    """Change the wait before an email."""
    _edit(
        sequence_id,
        base=base,
        what="retime",
        edit=lambda draft: plan_edits.retime(draft.plan, number, wait=wait),
    )


def remove(sequence_id: int, *, base: int, number: int) -> None:
    """Remove an email."""
    _edit(sequence_id, base=base, what="remove", edit=lambda draft: plan_edits.remove(draft.plan, number))


def undo_edit(sequence_id: int, *, base: int) -> None:
    """Restore the plan before the last edit."""

    def restored(draft: SequenceDraft) -> Plan:
        if draft.before is None:
            raise Conflict("There is nothing to undo.")
        return draft.before

    _edit(sequence_id, base=base, what="undo", edit=restored)


def decide_people(sequence_id: int, *, base: int, people: People) -> None:
    """Decide what happens to the people in the sequence."""
    draft = _locked(sequence_id, base=base)
    draft.people = people
    _record_edit(draft, "people")


def discard(sequence_id: int, *, base: int) -> None:
    """Discard the draft. The published version stays."""
    _locked(sequence_id, base=base).state = DraftState.DISCARDED
    audit.record("sequence.draft_discarded", object_type="sequence", object_id=sequence_id)


def _edit(sequence_id: int, *, base: int, what: str, edit: Callable[[SequenceDraft], Plan]) -> None:
    draft = _locked(sequence_id, base=base)
    plan = edit(draft)
    plan_graph.plan_from(plan)  # raises for a plan that could not run
    if plan != draft.plan:
        draft.before, draft.plan = draft.plan, plan
        _record_edit(draft, what)


def _record_edit(draft: SequenceDraft, what: str) -> None:
    draft.edited_by, draft.edited_at = audit.current().actor, clock.now()
    db.session.flush()
    audit.record(
        "sequence.draft_edited", object_type="sequence", object_id=draft.sequence_id, detail={"what": what}
    )


def _plans(sequence_id: int) -> list[Plan]:
    return [version.plan for version in queries.versions(sequence_id)]


def _locked(sequence_id: int, *, base: int, state: DraftState = DraftState.OPEN) -> SequenceDraft:
    """Return the draft for a change by a person who saw its state `base`. Raises NotFound, Conflict."""
    draft = db.session.scalar(
        select(SequenceDraft)
        .where(SequenceDraft.sequence_id == sequence_id, SequenceDraft.state.in_(UNDER_WAY))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if draft is None:
        raise NotFound("This sequence has no draft.")
    if draft.lock != base:
        raise Conflict("Another person changed this draft meanwhile. Look at it and repeat your change.")
    if draft.state is not state:
        raise Conflict(f"This draft is {draft.state}.")
    return draft


@dataclass(frozen=True, kw_only=True)
class Review:
    """What a second person sees before publishing."""

    findings: Sequence[Finding]
    rows: Sequence[Row]
    first_time: Mapping[str, int]

    @property
    def blocked(self) -> bool:
        """Whether something must be fixed first."""
        return any(finding.blocks for finding in self.findings)


def findings(draft: SequenceDraft) -> list[Finding]:
    """Return what is wrong with a draft today."""
    items = [node["item"] for node in plan_graph.stored_emails(draft.plan)]
    approved = content.newest_approved(items, now=clock.now())
    found = plan_edits.findings(
        draft.plan,
        approved=approved.keys(),
        languages=LANGUAGE_NAMES,
        buttons=queries.buttons(approved.values()),
    )
    newest = queries.newest_version(draft.sequence_id)
    if newest is not None and newest.id != draft.base_id and draft.version_id is None:
        found.insert(0, Finding(message=OUTDATED, blocks=True))
    return found


def review(draft: SequenceDraft) -> Review:
    """Return the findings, and what happens to everyone in the sequence."""
    versions = {version.id: version for version in queries.versions(draft.sequence_id)}
    plans = {version.number: plan_graph.plan_from(version.plan) for version in versions.values()}
    again = _again(draft, [version.plan for version in versions.values()])
    groups = [
        Group(
            version=versions[one.version_id].number,
            step=one.step,
            had_again=_had_again(one.had, plans[versions[one.version_id].number]),
            people=one.people,
        )
        for one in queries.groups(draft.sequence_id, again=again)
        if one.version_id != draft.version_id
    ]
    rows = version_change.preview(groups, plans, plan_graph.plan_from(draft.plan), people=draft.people)
    return Review(findings=findings(draft), rows=rows, first_time=version_change.first_time(rows))


def _again(draft: SequenceDraft, plans: Sequence[Plan]) -> list[str]:
    """Return the emails of a draft that some version has and another lacks: people may have had them and not know it."""
    items = [{node["item"] for node in plan_graph.stored_emails(plan)} for plan in plans]
    mine = {node["item"] for node in plan_graph.stored_emails(draft.plan)}
    return sorted(mine & set().union(*items) - set.intersection(*items))


def _had_again(had: Iterable[str] | None, old: plan_graph.Plan) -> bool:
    """Tell whether people of the version `old` had an email that it no longer has."""
    return not {step.item for step in old.steps}.issuperset(had or ())


def rehearsals(draft: SequenceDraft) -> Mapping[BuiltIn, tuple[Persona, Sequence[Line], frozenset[Problem]]]:
    """Rehearse a draft with each built-in persona: what happens to them, and what no person may meet."""
    plan = plan_graph.plan_from(draft.plan)
    approved = content.newest_approved([step.item for step in plan.steps], now=clock.now())
    zone = current_app.settings().clinic.zone
    found = {}
    for name, persona in simulator.built_in(plan, now=clock.now(), zone=zone).items():
        lines = simulator.simulate(plan, persona, content=approved.keys())
        found[name] = persona, lines, simulator.problems(plan, persona, lines)
    return found


def approve(sequence_id: int, *, base: int) -> datetime:
    """Approve a draft as a second person; return when it takes effect. Raises NotAllowed, or Conflict with the reason."""
    draft = _locked(sequence_id, base=base)
    if not is_second_person(draft):
        raise NotAllowed("You made the last change. Another person has to publish this draft.")
    problem = next((finding.text for finding in findings(draft) if finding.blocks), None)
    if problem is None and any(wrong for _, _, wrong in rehearsals(draft).values()):
        problem = REHEARSAL_FAILED
    if problem is None and not _differs(draft):
        problem = "This draft is the same as the published version."
    if problem is not None:
        raise Conflict(problem)
    draft.state, draft.approved_by = DraftState.APPROVED, audit.current().actor
    draft.publish_at = clock.now() + UNDO_WITHIN
    audit.record(
        "sequence.draft_approved",
        object_type="sequence",
        object_id=sequence_id,
        detail={"people": draft.people, "edited_by": draft.edited_by},
    )
    return draft.publish_at


def is_second_person(draft: SequenceDraft) -> bool:
    """Tell whether the current actor may publish a draft: not the person who made the last change."""
    return audit.current().actor != draft.edited_by


def _differs(draft: SequenceDraft) -> bool:
    base = db.session.get_one(SequenceVersion, draft.base_id)
    return plan_edits.changes(base.plan, draft.plan).any


def undo_approval(sequence_id: int, *, base: int) -> None:
    """Undo the approval before it takes effect. Raises Conflict when it is too late."""
    draft = _locked(sequence_id, base=base, state=DraftState.APPROVED)
    _reopen(draft)
    audit.record("sequence.approval_undone", object_type="sequence", object_id=sequence_id)


def _reopen(draft: SequenceDraft) -> None:
    draft.state, draft.approved_by, draft.publish_at = DraftState.OPEN, None, None


def to_publish() -> Sequence[int]:
    """Return the drafts whose time for undo is over, and those whose people still move."""
    rows = select(SequenceDraft.id).where(
        SequenceDraft.state.in_((DraftState.APPROVED, DraftState.MOVING)),
        SequenceDraft.publish_at <= clock.now(),
    )
    return db.session.scalars(rows.order_by(SequenceDraft.id)).all()


def publish(draft_id: int) -> bool:
    """Make an approved draft the version that people begin, or move the next slice; return whether there is more.

    A draft that may not be published any more becomes open again, with an alert.
    """
    draft = db.session.scalar(
        select(SequenceDraft)
        .where(SequenceDraft.id == draft_id)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    if draft is None:
        return False
    match draft.state:
        case DraftState.APPROVED:
            return _make_version(draft)
        case DraftState.MOVING:
            return _move_slice(draft)
        case _:
            return False


def _make_version(draft: SequenceDraft) -> bool:
    problem = next((finding.text for finding in findings(draft) if finding.blocks), None)
    if problem is not None:
        _reopen(draft)
        alerts.raise_alert(
            key=f"sequence-draft:{draft.sequence_id}",
            level="danger",
            text=f"The new version of a sequence was not published. {problem}",
            link=f"/console/sequences/{draft.sequence_id}/draft",
        )
        return False
    newest = queries.newest_version(draft.sequence_id)
    version = SequenceVersion(
        sequence_id=draft.sequence_id,
        number=(newest.number if newest else 0) + 1,
        plan=draft.plan,
        created_at=clock.now(),
    )
    db.session.add(version)
    db.session.flush()
    draft.version_id = version.id
    draft.state = DraftState.MOVING if draft.people is People.MOVE else DraftState.PUBLISHED
    audit.record(
        "sequence.published",
        object_type="sequence",
        object_id=draft.sequence_id,
        detail={"version": version.number, "approved_by": draft.approved_by, "edited_by": draft.edited_by},
    )
    return draft.state is DraftState.MOVING


_SLICE = text("""
    select e.id, e.version_id, e.step, e.anchor_at, c.time_zone, coalesce(s.paused_at, cast(:now as timestamptz)) as stands_at,
        case when cardinality(cast(:again as text[])) > 0 then array(
            select i.key from message m join content_version cv on cv.id = m.content_version_id
            join content_item i on i.id = cv.item_id where m.enrolment_id = e.id and i.key = any(:again)) end as had
    from enrolment e join sequence s on s.id = e.sequence_id join contact c on c.id = e.contact_id
    where e.sequence_id = :sequence and e.id > :after and e.state in ('active', 'paused', 'held')
        and e.version_id <> :version
    order by e.id limit :limit for update of e
""")
# A person whose next email or its time changes waits anew, also one who was held.
_MOVE = text("""
    update enrolment e set version_id = :version, step = u.step,
        reason = case when u.changes then null else e.reason end,
        send_now = e.send_now and not u.changes,
        state = case when u.ends then 'completed' when u.changes and e.state = 'held' then 'active' else e.state end,
        left_at = case when u.ends then cast(:now as timestamptz) end,
        due_at = case when u.ends or e.state = 'paused' then null when u.changes then u.due_at else e.due_at end,
        paused_left = case when u.ends or e.state <> 'paused' then null
            when u.changes then extract(epoch from u.due_at - u.stands_at)::bigint else e.paused_left end
    from (select *, fate = 'changes' as changes, fate = 'ends' as ends
        from unnest(cast(:ids as bigint[]), cast(:steps as bigint[]), cast(:dues as timestamptz[]),
            cast(:stands as timestamptz[]), cast(:fates as text[])) as given(id, step, due_at, stands_at, fate)) u
    where e.id = u.id
""")


class WaitingRow(NamedTuple):
    """One person of an earlier version, as `_SLICE` returns them."""

    id: int
    version_id: int
    step: int
    anchor_at: datetime
    time_zone: str
    stands_at: datetime  # now; in a paused sequence, when it was paused
    had: list[str] | None  # of the emails that come again


def _move_slice(draft: SequenceDraft) -> bool:
    """Move the next people; return whether there may be more."""
    rows, plans = _next_people(draft)
    new = plans[draft.version_id or 0]
    decided = [(row, _outcome(row, plans[row.version_id], new, draft.people)) for row in rows]
    _write_moves(decided, new, version_id=draft.version_id)
    fates = Counter(draft.results or {}) + Counter(one.fate.value for _, one in decided)
    draft.results, draft.moved_to = dict(fates), rows[-1].id if rows else draft.moved_to
    if len(rows) == SLICE:
        return True
    draft.state = DraftState.PUBLISHED
    audit.record(
        "sequence.people_moved", object_type="sequence", object_id=draft.sequence_id, detail=dict(fates)
    )
    enqueue("sequences.plan", key=f"moved-{draft.id}")
    return False


def _next_people(draft: SequenceDraft) -> tuple[Sequence[WaitingRow], Mapping[int, plan_graph.Plan]]:
    """Return the next people of earlier versions, locked, and the plan of each version."""
    stored = {version.id: version.plan for version in queries.versions(draft.sequence_id)}
    earlier = [plan for version_id, plan in stored.items() if version_id != draft.version_id]
    given = {
        "sequence": draft.sequence_id,
        "after": draft.moved_to,
        "version": draft.version_id,
        "again": _again(draft, earlier),
        "now": clock.now(),
        "limit": SLICE,
    }
    plans = {version_id: plan_graph.plan_from(plan) for version_id, plan in stored.items()}
    return rows_as(WaitingRow, db.session.execute(_SLICE, given)), plans


def _outcome(row: WaitingRow, old: plan_graph.Plan, new: plan_graph.Plan, people: People) -> Outcome:
    return version_change.outcome(old, new, step=row.step, people=people, had_again=_had_again(row.had, old))


def _write_moves(
    decided: Sequence[tuple[WaitingRow, Outcome]], new: plan_graph.Plan, *, version_id: int | None
) -> None:
    """Update those who move, in one statement."""
    moved = [(row, one) for row, one in decided if one.fate in MOVING]
    if not moved:
        return
    rows, outcomes = zip(*moved, strict=True)
    db.session.execute(
        _MOVE,
        {
            "version": version_id,
            "now": clock.now(),
            "ids": bigint_array(row.id for row in rows),
            "steps": bigint_array(_number(one, new) for one in outcomes),
            "dues": [_due(row, one, new) for row, one in moved],
            "stands": [row.stands_at for row in rows],
            "fates": [one.fate.value for one in outcomes],
        },
    )


def _number(decided: Outcome, new: plan_graph.Plan) -> int:
    return decided.next.number if decided.next else new.end


def _due(row: WaitingRow, decided: Outcome, new: plan_graph.Plan) -> datetime | None:
    if decided.next is None:
        return None
    return version_change.due_in(
        new, decided.next, anchor=row.anchor_at, now=row.stands_at, zone=zone_info(row.time_zone)
    )
