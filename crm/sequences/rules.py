"""The rules of sequences: when the next step is due, and what to do then. Pure: facts and now give a decision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import assert_never
from zoneinfo import ZoneInfo

from crm.messages.limits.send_window import into_window
from crm.sequences.plan_graph import (
    Branch,
    Ending,
    EndKind,
    Node,
    Plan,
    Step,
    due_after,
    is_wait_for,
    wait_over,
)

DEFERRED = frozenset({"snoozed"})  # refusals that pass by themselves; others end the enrolment


class SequenceState(StrEnum):
    """The state of a sequence."""

    DRAFT = "draft"
    LIVE = "live"
    PAUSED = "paused"
    RETIRED = "retired"


class DraftState(StrEnum):
    """The state of the next version of a sequence."""

    OPEN = "open"
    APPROVED = "approved"  # by a second person; it becomes a version when the time for undo is over
    MOVING = "moving"  # the version exists; people move to it
    PUBLISHED = "published"
    DISCARDED = "discarded"


UNDER_WAY = (DraftState.OPEN, DraftState.APPROVED, DraftState.MOVING)


class EnrolmentState(StrEnum):
    """The state of one person in one sequence."""

    ACTIVE = "active"
    PAUSED = "paused"  # with the whole sequence
    HELD = "held"  # until the next email has an approved version
    COMPLETED = "completed"
    EXITED = "exited"


IN_SEQUENCE = (EnrolmentState.ACTIVE, EnrolmentState.PAUSED, EnrolmentState.HELD)


class Act(StrEnum):
    """What the planner does with a due enrolment."""

    SEND = "send"
    WAIT = "wait"
    PASS = "pass"  # noqa: S105 - to a later node, without an email
    HOLD = "hold"
    EXIT = "exit"
    COMPLETE = "complete"


@dataclass(frozen=True)
class Facts:
    """What the planner knows about one due enrolment."""

    step: int  # number of the node where they are
    zone: ZoneInfo
    refusal: str | None  # why this person may not get it, from the consent rules
    refused_until: datetime | None  # when that passes by itself
    content: bool  # an approved version, in the person's language, of the email that `way` leads to exists
    capped_until: datetime | None  # when the frequency cap allows the next email
    send_now: bool  # staff asked for it: neither window nor recent contact counts this once
    touched_until: datetime | None = None  # when it is long enough after staff were in touch
    too_late: bool = False  # due so long ago that the email is listed as too late, at whatever hour
    holds: frozenset[int] = frozenset()  # numbers of the branches whose question is answered with yes
    over_at: datetime | None = None  # when the longest time of the wait-for is over where they are


Passages = tuple[tuple[int, bool], ...]  # (number of a branch, its arm)


@dataclass(frozen=True)
class Way:
    """Where a person comes to from the node where they are: an email, an ending, a later wait, or nothing."""

    node: Node | None
    due_at: datetime | None = None  # of a node that has to wait
    passages: Passages = ()


@dataclass(frozen=True)
class Decision:
    """What to do with an enrolment. `due_at` is set for SEND (the next node), WAIT and PASS."""

    act: Act
    due_at: datetime | None = None
    reason: str | None = None
    next_step: int | None = None  # the number that they are at afterwards; None where they are
    last: bool = False  # of SEND: nothing follows
    email: int | None = None  # of SEND: the email's number, unless they were at it
    ending: Ending | None = None  # where they end
    passages: Passages = ()  # the branches that they passed

    @cached_property
    def state(self) -> EnrolmentState:
        """The state that the enrolment gets. Cached: thousands of people share one decision."""
        if self.ending is not None:
            return EnrolmentState.EXITED if self.ending.kind is EndKind.EXIT else EnrolmentState.COMPLETED
        match self.act:
            case Act.SEND:
                return EnrolmentState.COMPLETED if self.last else EnrolmentState.ACTIVE
            case Act.WAIT | Act.PASS:
                return EnrolmentState.ACTIVE
            case Act.HOLD:
                return EnrolmentState.HELD
            case Act.EXIT:
                return EnrolmentState.EXITED
            case Act.COMPLETE:
                return EnrolmentState.COMPLETED
            case _:
                assert_never(self.act)

    @property
    def goes_on(self) -> bool:
        """Whether the next wait is counted from now."""
        return self.act is Act.SEND or self.next_step is not None


ANSWERED = "answered"  # reason of such an exit
WAITS_FOR = "waits_for"  # reason of a wait that a fact ends
BY_PLAN = "by_plan"  # reason of an exit whose emails, already queued, are still sent


def way(plan: Plan, facts: Facts, now: datetime) -> Way:
    """Follow a plan from the node where a person is due, to where they have to wait or something happens."""
    node = plan.node(facts.step)
    passages: list[tuple[int, bool]] = []
    while node is not None and not isinstance(node, Step | Ending):
        yes = False
        if isinstance(node, Branch):
            yes = node.number in facts.holds
            over_at = None if yes else _over_at(plan, node, facts, now)
            if over_at is not None and over_at > now:
                return Way(node, over_at, tuple(passages))
            passages.append((node.number, yes))
        node = plan.after(node.number, yes=yes)
        due_at = _waits_until(plan, node, facts, now)
        if due_at is not None:
            return Way(node, due_at, tuple(passages))
    return Way(node, None, tuple(passages))


def _over_at(plan: Plan, node: Branch, facts: Facts, now: datetime) -> datetime | None:
    """Return until when a wait-for waits; None for other branches, and when staff ask for the next email."""
    if not node.waits_for or facts.send_now:
        return None
    if node.number == facts.step and facts.over_at is not None:
        return facts.over_at
    return wait_over(now, node, plan.window, facts.zone)


def _waits_until(plan: Plan, node: Node | None, facts: Facts, now: datetime) -> datetime | None:
    if node is None or isinstance(node, Ending):
        return None
    if not node.wait.amount and (facts.send_now or facts.too_late):
        return None
    due_at = due_after(now, node, plan.window, facts.zone)
    return due_at if due_at > now else None


def decide(plan: Plan, facts: Facts, now: datetime) -> Decision:
    """Decide what happens to an enrolment that is due.

    Order: no node left, lasting refusal, branches and waits up to the next email, passing refusal, frequency cap or
    recent contact, missing content, outside the window, send.
    """
    if plan.node(facts.step) is None:
        return Decision(Act.COMPLETE)
    if facts.refusal is not None and facts.refusal not in DEFERRED:
        return Decision(Act.EXIT, reason=facts.refusal)
    found = way(plan, facts, now)
    if found.due_at is not None and found.node is not None:
        decision = _wait_at(found.node, found.due_at, facts)
    elif isinstance(found.node, Step):
        decision = _decide_email(plan, found.node, facts, now)
    else:
        decision = _end(plan, found.node)
    return replace(decision, passages=found.passages) if found.passages else decision


def _wait_at(node: Node, until: datetime, facts: Facts) -> Decision:
    """Let a person wait at a node. The longest time of a wait-for where they are already does not begin anew."""
    reason = WAITS_FOR if is_wait_for(node) else None
    if node.number == facts.step:
        return Decision(Act.WAIT, due_at=until, reason=reason)
    return Decision(Act.PASS, due_at=until, reason=reason, next_step=node.number)


def _end(plan: Plan, node: Node | None) -> Decision:
    if not isinstance(node, Ending):
        return Decision(Act.COMPLETE, next_step=plan.end)
    act = Act.EXIT if node.kind is EndKind.EXIT else Act.COMPLETE
    return Decision(act, reason=_reason(node), next_step=node.number, ending=node)


def _reason(ending: Ending) -> str | None:
    return BY_PLAN if ending.kind is EndKind.EXIT else None


def _decide_email(plan: Plan, email: Step, facts: Facts, now: datetime) -> Decision:
    """Decide about the email that a person has come to."""
    moved = None if email.number == facts.step else email.number
    until, reason = _may_send_from(facts, now)
    if until > now:
        due_at = into_window(until, plan.window, facts.zone)
        return Decision(Act.WAIT, due_at=due_at, reason=reason, next_step=moved)
    if not facts.content:
        return Decision(Act.HOLD, reason="content_not_approved", next_step=moved)
    opens = now if facts.send_now or facts.too_late else into_window(now, plan.window, facts.zone)
    if opens > now:
        return Decision(Act.WAIT, due_at=opens, next_step=moved)
    return _send(plan, email, facts, now)


def _may_send_from(facts: Facts, now: datetime) -> tuple[datetime, str | None]:
    """Return when a passing refusal, the frequency cap and recent contact allow the next email, and which is the last."""
    waits = (
        (facts.refused_until, facts.refusal),
        (facts.capped_until, "frequency_cap"),
        (None if facts.send_now else facts.touched_until, "human_touch"),
    )
    return max(((until, why) for until, why in waits if until), default=(now, None), key=lambda one: one[0])


def _send(plan: Plan, email: Step, facts: Facts, now: datetime) -> Decision:
    moved = None if email.number == facts.step else email.number
    following = plan.after(email.number)
    if following is None:
        return Decision(Act.SEND, next_step=plan.end, last=True, email=moved)
    if isinstance(following, Ending):
        return Decision(
            Act.SEND,
            reason=_reason(following),
            next_step=following.number,
            last=True,
            email=moved,
            ending=following,
        )
    # A late step does not pull the next one closer: the wait counts from when this one was really sent.
    due_at = due_after(now, following, plan.window, facts.zone)
    return Decision(Act.SEND, due_at=due_at, next_step=following.number, email=moved)


def dates(plan: Plan, *, entered: datetime, zone: ZoneInfo) -> Sequence[datetime]:
    """Return when each email of a plan without branches would be sent to a person who enters now and is never delayed."""
    found: list[datetime] = []
    moment = entered
    for step in plan.steps:
        moment = due_after(moment, step, plan.window, zone)
        found.append(moment)
    return found
