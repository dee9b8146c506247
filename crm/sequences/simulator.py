"""The simulator: what a plan does with an imagined person, each date with its reason. Pure.

It calls `rules.decide`, as the planner does, with a clock of its own.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from crm.messages.limits.send_window import into_window
from crm.messages.rules import ENDING_ANSWERS, FREQUENCY_CAP, FREQUENCY_SPAN, Answer
from crm.sequences import rules
from crm.sequences.plan_graph import (
    Answered,
    Branch,
    Delivered,
    InSegment,
    Node,
    Plan,
    Question,
    Share,
    Step,
    add_wait,
    due_after,
    is_wait_for,
    wait_over,
)
from crm.sequences.rules import Act, Decision, EnrolmentState

MOST_LINES = 500  # a plan has no cycles; this is for a fault in the rules


@dataclass(frozen=True, kw_only=True)
class Says:
    """An answer that the person gives with a button, so long after they were sent the email."""

    email: int  # number
    answer: Answer
    after: timedelta


@dataclass(frozen=True, kw_only=True)
class Persona:
    """An imagined person.

    `inside`: question about a segment -> from when and until when the answer is yes. `drawn`: numbers of the splits
    whose way A they go.
    """

    zone: ZoneInfo
    language: str
    entered: datetime
    says: tuple[Says, ...] = ()
    inside: Mapping[Question, tuple[datetime, datetime | None]] = field(default_factory=dict)
    leaves: tuple[datetime, str] | None = None  # moment and reason, such as a booking
    drawn: frozenset[int] = frozenset()


class Kind(StrEnum):
    """What a line tells."""

    ENTERED = "entered"
    SENT = "sent"
    ASKED = "asked"  # a branch; `yes` tells the arm
    DELAYED = "delayed"  # before an email; `reason` tells why
    WAITS = "waits"  # for a fact; `until` tells how long at most
    SAID = "said"
    HELD = "held"  # no approved version in the person's language
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that happens to the person."""

    at: datetime
    kind: Kind
    node: int | None = None
    reason: str | None = None
    yes: bool = False
    planned: datetime | None = None  # of an email or a branch: when its wait was over
    until: datetime | None = None  # of a delay
    state: EnrolmentState | None = None  # of an end
    name: str | None = None  # of an end
    answer: Answer | None = None


@dataclass
class _Run:
    """The state of one simulation."""

    plan: Plan
    persona: Persona
    content: Collection[tuple[str, str]]  # (email, language) with an approved version
    step: int
    due_at: datetime
    planned: datetime  # `due_at` before it moved into the send window
    anchor: datetime  # the moment that the wait of `step` is counted from
    sent: dict[int, datetime] = field(default_factory=dict)
    said: list[tuple[datetime, Says]] = field(default_factory=list)


def simulate(plan: Plan, persona: Persona, *, content: Collection[tuple[str, str]]) -> Sequence[Line]:
    """Return all that happens to a person, in order. `content`: (email, language) with an approved version."""
    lines = [Line(at=persona.entered, kind=Kind.ENTERED)]
    if not plan.nodes:
        return [*lines, Line(at=persona.entered, kind=Kind.ENDED, state=EnrolmentState.COMPLETED)]
    first = plan.nodes[0]
    due_at = due_after(persona.entered, first, plan.window, persona.zone)
    planned = add_wait(persona.entered, first.wait, persona.zone)
    run = _Run(plan, persona, content, first.number, due_at, planned, persona.entered)
    for line in _lines(run):
        lines.append(line)
        if line.kind in (Kind.ENDED, Kind.HELD) or len(lines) > MOST_LINES:
            break
    return lines


def _lines(run: _Run) -> Iterator[Line]:
    while True:
        happening = _next_happening(run)
        if happening is not None and happening[0] <= run.due_at:
            yield from _happen(run, *happening)
            continue
        yield from _decided(run)


def _next_happening(run: _Run) -> tuple[datetime, Says | str] | None:
    """Return what the person does next, and when."""
    done = {one for _, one in run.said}
    found: list[tuple[datetime, Says | str]] = [
        (run.sent[one.email] + one.after, one)
        for one in run.persona.says
        if one.email in run.sent and one not in done
    ]
    if run.persona.leaves is not None:
        found.append(run.persona.leaves)
    return min(found, key=lambda one: one[0], default=None)


def _happen(run: _Run, at: datetime, what: Says | str) -> Iterator[Line]:
    if isinstance(what, str):
        yield Line(at=at, kind=Kind.ENDED, reason=what, state=EnrolmentState.EXITED)
        return
    run.said.append((at, what))
    yield Line(at=at, kind=Kind.SAID, node=what.email, answer=what.answer)
    if what.answer in ENDING_ANSWERS:
        yield Line(at=at, kind=Kind.ENDED, reason=rules.ANSWERED, state=EnrolmentState.EXITED)
        return
    node = run.plan.node(run.step)
    if isinstance(node, Branch) and node.waits_for and _holds(run, node, at):
        run.due_at = min(run.due_at, at)


def _decided(run: _Run) -> Iterator[Line]:
    now = run.due_at
    facts = _facts(run, now)
    reached = rules.way(run.plan, facts, now).node
    decision = rules.decide(run.plan, facts, now)
    for number, yes in decision.passages:
        yield Line(at=now, kind=Kind.ASKED, node=number, yes=yes, planned=_planned(run, number, now))
    if reached is not None:
        yield from _at_node(run, decision, reached.number, now)
    if decision.state is EnrolmentState.ACTIVE:
        _go_on(run, decision, now)
    elif decision.state is not EnrolmentState.HELD:
        yield _ended(decision, now)


def _go_on(run: _Run, decision: Decision, now: datetime) -> None:
    run.due_at = decision.due_at or now
    if decision.next_step is not None:
        run.step, run.anchor = decision.next_step, now
    node = run.plan.node(run.step)
    if node is not None and decision.next_step is not None:
        run.planned = add_wait(now, node.wait, run.persona.zone)
    if isinstance(node, Branch) and decision.reason == rules.WAITS_FOR:
        since = run.persona.inside.get(node.question, (run.due_at, None))[0]
        run.due_at = min(run.due_at, max(now, since))


def _planned(run: _Run, number: int, now: datetime) -> datetime:
    """Return when the wait before a node was over: nodes after the one they were at are reached at once."""
    return run.planned if number == run.step else now


def _at_node(run: _Run, decision: Decision, number: int, now: datetime) -> Iterator[Line]:
    match decision.act:
        case Act.WAIT | Act.PASS if decision.reason == rules.WAITS_FOR:
            yield Line(at=now, kind=Kind.WAITS, node=number, until=decision.due_at)
        case Act.SEND:
            run.sent[number] = now
            yield Line(at=now, kind=Kind.SENT, node=number, planned=_planned(run, number, now))
        case Act.HOLD:
            yield Line(at=now, kind=Kind.HELD, node=number, reason=decision.reason)
        case Act.WAIT:
            why, until = decision.reason, decision.due_at
            yield Line(at=now, kind=Kind.DELAYED, node=number, reason=why, until=until)


def _ended(decision: Decision, now: datetime) -> Line:
    ending = decision.ending
    return Line(
        at=now,
        kind=Kind.ENDED,
        node=ending.number if ending else None,
        reason=decision.reason,
        state=decision.state,
        name=ending.name if ending else None,
    )


def _facts(run: _Run, now: datetime) -> rules.Facts:
    node = run.plan.node(run.step)
    facts = rules.Facts(
        step=run.step,
        zone=run.persona.zone,
        refusal=None,
        refused_until=None,
        content=True,
        capped_until=_capped_until(run, now),
        send_now=False,
        holds=frozenset(one.number for one in run.plan.asked(run.step) if _holds(run, one, now)),
        over_at=wait_over(run.anchor, node, run.plan.window, run.persona.zone)
        if node is not None and is_wait_for(node)
        else None,
    )
    return replace(facts, content=_has_content(run, rules.way(run.plan, facts, now).node))


def _has_content(run: _Run, node: Node | None) -> bool:
    return not isinstance(node, Step) or (node.item, run.persona.language) in run.content


def _capped_until(run: _Run, now: datetime) -> datetime | None:
    recent = sorted((at for at in run.sent.values() if at > now - FREQUENCY_SPAN), reverse=True)
    return recent[FREQUENCY_CAP - 1] + FREQUENCY_SPAN if len(recent) >= FREQUENCY_CAP else None


def _holds(run: _Run, branch: Branch, now: datetime) -> bool:
    question = branch.question
    if isinstance(question, Answered):
        return any(
            one.answer is question.answer and question.email in (None, one.email)
            for at, one in run.said
            if at <= now
        )
    if isinstance(question, Delivered):
        return question.email in run.sent
    if isinstance(question, Share):
        return branch.number in run.persona.drawn
    since, until = run.persona.inside.get(question, (None, None))
    return since is not None and since <= now and (until is None or now < until)


def sent(lines: Sequence[Line]) -> Mapping[int, datetime]:
    """Return email number -> when it was sent."""
    return {line.node: line.at for line in lines if line.kind is Kind.SENT and line.node is not None}


class BuiltIn(StrEnum):
    """The personas that every version is rehearsed with before it is published."""

    READS = "reads"  # and does nothing
    SPANISH = "spanish"
    NOT_NOW = "not_now"
    CALL = "call"
    GUIDE = "guide"
    MEMBER = "member"  # of every segment that a branch asks about
    BOOKS = "books"
    DRAWN = "drawn"  # goes way A of every split; only in plans that have one


EVENING = timedelta(hours=21)


def built_in(plan: Plan, *, now: datetime, zone: ZoneInfo) -> Mapping[BuiltIn, Persona]:
    """Return the built-in personas. They enter on the Friday evening after `now`."""
    day = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    friday = day + timedelta(days=(4 - day.weekday()) % 7) + EVENING
    entered = friday.replace(tzinfo=zone)
    plain = Persona(zone=zone, language="en", entered=entered)
    questions = {one.question for one in plan.branches if isinstance(one.question, InSegment)}
    splits = frozenset(one.number for one in plan.branches if isinstance(one.question, Share))
    return {
        BuiltIn.READS: plain,
        BuiltIn.SPANISH: replace(plain, language="es"),
        BuiltIn.NOT_NOW: replace(plain, says=_says(plan, Answer.NOT_NOW)),
        BuiltIn.CALL: replace(plain, says=_says(plan, Answer.CALL)),
        BuiltIn.GUIDE: replace(plain, says=_says(plan, Answer.GUIDE)),
        BuiltIn.MEMBER: replace(plain, inside=dict.fromkeys(questions, (entered, None))),
        BuiltIn.BOOKS: replace(plain, leaves=(entered + timedelta(days=10), "booked")),
        **({BuiltIn.DRAWN: replace(plain, drawn=splits)} if splits else {}),
    }


def _says(plan: Plan, answer: Answer) -> tuple[Says, ...]:
    return tuple(Says(email=step.number, answer=answer, after=timedelta(hours=3)) for step in plan.steps)


class Problem(StrEnum):
    """What no person may ever meet. A rehearsal that finds one blocks publishing."""

    NO_END = "no_end"
    TWICE = "twice"
    OUT_OF_HOURS = "out_of_hours"
    AFTER_END = "after_end"
    TOO_MANY = "too_many"  # within the days of the limit


def problems(plan: Plan, persona: Persona, lines: Sequence[Line]) -> frozenset[Problem]:
    """Return what is wrong with a rehearsal."""
    moments = [line.at for line in lines if line.kind is Kind.SENT]
    numbers = [line.node for line in lines if line.kind is Kind.SENT]
    found = {
        Problem.NO_END: lines[-1].kind not in (Kind.ENDED, Kind.HELD),
        Problem.TWICE: len(numbers) != len(set(numbers)),
        Problem.OUT_OF_HOURS: any(into_window(at, plan.window, persona.zone) != at for at in moments),
        Problem.AFTER_END: any(line.kind is Kind.ENDED for line in lines[:-1]),
        Problem.TOO_MANY: any(
            later - at < FREQUENCY_SPAN for at, later in zip(moments, moments[FREQUENCY_CAP:], strict=False)
        ),
    }
    return frozenset(problem for problem, there in found.items() if there)
