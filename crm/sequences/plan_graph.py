"""The plan of a sequence version: nodes in order, branches with two arms. Pure: build it, and find the way through it.

A branch holds the nodes of its two arms; after an arm, the nodes after the branch follow. So a plan has no cycles, each
node is reached at most once, and (enrolment, number) keeps an email from going out twice.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from crm.messages.limits.send_window import Window, instant, into_window, window_from
from crm.messages.rules import Answer
from crm.segments import rules as segments

UNITS = ("minutes", "hours", "days", "weeks")
DEEPEST = 5  # branches in branches
MIN_PERCENT, MAX_PERCENT = 1, 99  # of people who go way A of a split
LONGEST_NAME = 60
NUMBERED = (
    2  # the format whose nodes carry their number; in the first one, a number is the place in the order
)


@dataclass(frozen=True)
class Wait:
    """Time between two nodes. Days and weeks keep the local time of day; hours and minutes are exact."""

    amount: int
    unit: str

    def __post_init__(self) -> None:
        if self.unit not in UNITS or not 0 <= self.amount <= 10_000:
            raise ValueError("A wait is a number of minutes, hours, days or weeks.")


AT_ONCE = Wait(0, "days")


@dataclass(frozen=True)
class Step:
    """One email, and how long after the node before it.

    `number` stays with the node in every later version of the sequence, wherever it moves, and is never used for
    another one. An enrolment and its messages point at it.
    """

    item: str  # content item key
    wait: Wait
    number: int


@dataclass(frozen=True)
class Pause:
    """A wait without an email after it."""

    wait: Wait
    number: int


@dataclass(frozen=True)
class Answered:
    """Did the person give this answer, to this email or to any of the sequence?"""

    answer: Answer
    email: int | None = None  # number of the email


@dataclass(frozen=True)
class InSegment:
    """Is the person in this segment? The rule is a copy: a version never changes."""

    rule: segments.Node
    rule_id: int | None = None  # of the saved segment's rule


@dataclass(frozen=True)
class Share:
    """Is the person in this share of people? A split asks it: yes is its way A.

    Who is in it depends on nothing but the person and the name of the draw, so a person gets the same way every time.
    """

    percent: int
    draw: str

    def __post_init__(self) -> None:
        if not MIN_PERCENT <= self.percent <= MAX_PERCENT or not self.draw:
            raise ValueError("A split needs a percentage from 1 to 99 and a draw.")

    def holds(self, contact_id: int) -> bool:
        """Tell whether a person is in the share."""
        return segments.is_drawn(contact_id, draw=self.draw, percent=self.percent)


@dataclass(frozen=True)
class Delivered:
    """Did the provider report that this email was delivered to the person?"""

    email: int


Question = Answered | InSegment | Share | Delivered


@dataclass(frozen=True)
class Branch:
    """A question with two ways on, or a split. It is asked when its wait is over.

    A wait-for is asked when people come to it, too, and at each fact that it may wait for: its wait is the longest time,
    and only the fact ends it early.
    """

    question: Question
    wait: Wait
    number: int
    yes: tuple["Node", ...] = ()
    no: tuple["Node", ...] = ()
    waits_for: bool = False


class EndKind(StrEnum):
    """How a way through a plan ends."""

    GOAL = "goal"  # what the sequence is for was reached
    EXIT = "exit"  # the person leaves it early
    END = "end"


@dataclass(frozen=True)
class Ending:
    """The end of a way, with a name that is recorded."""

    kind: EndKind
    name: str
    number: int

    @property
    def wait(self) -> Wait:
        """An ending is reached at once."""
        return AT_ONCE


Node = Step | Pause | Branch | Ending
Arms = tuple[tuple[int, bool], ...]  # the branches around a node, from outside, and the arm it is in


@dataclass(frozen=True)
class Plan:
    """What a sequence version does: its nodes in order. `steps` are the emails, those of all arms, in order."""

    window: Window
    nodes: tuple[Node, ...]
    starts: InSegment | None = None  # who of those who opted in; None: everyone, at the moment they opt in

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The emails in the order of the outline."""
        return tuple(node for node in self._all.values() if isinstance(node, Step))

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The branches in the order of the outline."""
        return tuple(node for node in self._all.values() if isinstance(node, Branch))

    @property
    def numbers(self) -> Collection[int]:
        """The numbers of all nodes, in the order of the outline."""
        return self._all.keys()

    @cached_property
    def _all(self) -> Mapping[int, Node]:
        return {node.number: node for node in _every(self.nodes)}

    @cached_property
    def _next(self) -> Mapping[tuple[int, bool], Node | None]:
        """(number, arm) -> the node that follows. Only branches differ by arm."""
        found: dict[tuple[int, bool], Node | None] = {}
        _link(self.nodes, None, found)
        return found

    @cached_property
    def _arms(self) -> Mapping[int, Arms]:
        return dict(_arms(self.nodes, ()))

    @cached_property
    def places(self) -> Mapping[int, int]:
        """Number of an email -> its place among the emails."""
        return {step.number: place for place, step in enumerate(self.steps)}

    @cached_property
    def end(self) -> int:
        """The number that an enrolment points at when nothing is left."""
        return 1 + max(self._all, default=-1)

    def node(self, number: int) -> Node | None:
        """Return the node of this number; None when the plan does not have it."""
        return self._all.get(number)

    def step(self, number: int) -> Step | None:
        """Return the email of this number; None when the plan does not have it."""
        place = self.places.get(number)
        return None if place is None else self.steps[place]

    def after(self, number: int, *, yes: bool = False) -> Node | None:
        """Return the node that follows, of a branch on the arm `yes`; None after the last."""
        return self._next[number, yes]

    def arms(self, number: int) -> Arms:
        """Return the branches around a node, from outside, each with its arm."""
        return self._arms.get(number, ())

    def outer_place(self, number: int) -> int:
        """Return the place, among the outer nodes, of a node or of the outermost branch around it."""
        around = self.arms(number)
        outer = around[0][0] if around else number
        return [node.number for node in self.nodes].index(outer)

    def before(self, number: int) -> Sequence[Step]:
        """Return the emails that come earlier in the outline: all of them when the plan does not have this node.

        Those of an arm that a person did not take are among them.
        """
        found: list[Step] = []
        for node in self._all.values():
            if node.number == number:
                break
            if isinstance(node, Step):
                found.append(node)
        return found

    def ahead(self, number: int) -> frozenset[int]:
        """Return the numbers of the nodes that can still be reached from a node, itself included."""
        known = self._ahead.get(number)
        if known is None:
            known = self._ahead[number] = frozenset(_reached(self, self.node(number)))
        return known

    @cached_property
    def _ahead(self) -> dict[int, frozenset[int]]:
        return {}

    def asked(self, number: int) -> Sequence[Branch]:
        """Return the branches that one decision at this node may have to ask. Most plans and nodes have none."""
        if not self.branches:
            return ()
        known = self._asked.get(number)
        if known is None:
            known = self._asked[number] = tuple(_asked(self, self.node(number)))
        return known

    @cached_property
    def _asked(self) -> dict[int, tuple[Branch, ...]]:
        return {}


def _every(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        if isinstance(node, Branch):
            yield from _every(node.yes)
            yield from _every(node.no)


def _link(
    nodes: Sequence[Node], then: Node | None, found: dict[tuple[int, bool], Node | None]
) -> Node | None:
    """Note what follows each of these nodes; return the first of them, or what follows if there are none."""
    for node in reversed(nodes):
        if isinstance(node, Branch):
            found[node.number, True] = _link(node.yes, then, found)
            found[node.number, False] = _link(node.no, then, found)
        elif not isinstance(node, Ending):
            found[node.number, False] = then
        then = node
    return then


def _arms(nodes: Sequence[Node], around: Arms) -> Iterator[tuple[int, Arms]]:
    for node in nodes:
        yield node.number, around
        if isinstance(node, Branch):
            yield from _arms(node.yes, (*around, (node.number, True)))
            yield from _arms(node.no, (*around, (node.number, False)))


def _onward(plan: Plan, node: Node) -> Sequence[Node]:
    match node:
        case Branch():
            ways = (plan.after(node.number, yes=True), plan.after(node.number))
        case Ending():
            ways = (None, None)
        case _:
            ways = (plan.after(node.number), None)
    return [one for one in ways if one is not None]


def _reached(plan: Plan, node: Node | None) -> Iterator[int]:
    waiting, seen = [node] if node else [], set[int]()
    while waiting:
        one = waiting.pop()
        if one.number not in seen:
            seen.add(one.number)
            yield one.number
            waiting += _onward(plan, one)


def _asked(plan: Plan, node: Node | None) -> Iterator[Branch]:
    waiting, seen = [node] if node else [], set[int]()
    while waiting:
        one = waiting.pop()
        if one.number in seen or isinstance(one, Step | Ending):
            continue
        seen.add(one.number)
        if isinstance(one, Branch):
            yield one
        waiting += [after for after in _onward(plan, one) if not after.wait.amount or is_wait_for(after)]


def readable_plan(data: Mapping[str, Any]) -> Plan | None:
    """Return the plan that is stored, or None for one that cannot be read: the planner holds its people, with an alert."""
    try:
        return plan_from(data)
    except ValueError:
        return None


def plan_from(data: Mapping[str, Any]) -> Plan:
    """Build a plan from its stored form; `crm/content/render/library.py` reads the file. Raises ValueError with the reason.

    Shape: {"format": 2, "window": {"start": "09:00", "end": "17:00", "weekdays": [0, ...]}, "nodes": [
        {"number": 0, "item": key, "wait": {"amount": 2, "unit": "days"}},
        {"number": 3, "kind": "branch", "wait": {...}, "ask": {"answer": "call", "email": 0} or
            {"segment_rule": 7, "rule": {...}}, "yes": [nodes], "no": [nodes]},
        {"number": 6, "kind": "split", "wait": {...}, "percent": 30, "draw": "7:6", "yes": [way A], "no": [way B]},
        {"number": 8, "kind": "wait_for", "ask": as of a branch, {"delivered": 0} or a rule without a segment, "wait":
            the longest time, "yes": [nodes], "no": [nodes]},
        {"number": 4, "kind": "wait", "wait": {...}}, {"number": 5, "kind": "goal" or "exit" or "end", "name": "..."}]}
    "starts": {"segment_rule": 7, "rule": {...}} lets only people of a segment start.
    In the first format, which files have, the nodes are called "steps", are emails, and have no number.
    """
    try:
        starts = data.get("starts")
        plan = Plan(
            window_from(data["window"]),
            _nodes(stored_nodes(data), depth=0),
            InSegment(segments.parse(starts["rule"]), starts["segment_rule"]) if starts else None,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The plan lacks {error}.") from error
    numbers = [node.number for node in _every(plan.nodes)]
    if len(numbers) != len(set(numbers)):
        raise ValueError("Two nodes of the plan have the same number.")
    return plan


def stored_nodes(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the outer nodes of a stored plan of either format, each with its number. Raises KeyError without them."""
    if data.get("format") == NUMBERED:
        return list(data["nodes"])
    return [{"number": place, **step} for place, step in enumerate(data["steps"])]


def every_stored(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield stored nodes and those in their arms, in the order of the outline."""
    for node in nodes:
        yield node
        for arm in ("yes", "no"):
            yield from every_stored(node.get(arm, ()))


def stored_emails(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the emails of a stored plan, those of all arms, in the order of the outline."""
    return [node for node in every_stored(stored_nodes(data)) if "item" in node]


def _nodes(stored: Sequence[Mapping[str, Any]], *, depth: int) -> tuple[Node, ...]:
    if depth > DEEPEST:
        raise ValueError(f"Branches can be nested {DEEPEST} deep.")
    return tuple(_node(one, depth=depth) for one in stored)


def _node(stored: Mapping[str, Any], *, depth: int) -> Node:
    match stored.get("kind", "email"):
        case "email":
            return Step(stored["item"], Wait(**stored["wait"]), stored["number"])
        case "wait":
            return Pause(Wait(**stored["wait"]), stored["number"])
        case "branch" | "split" | "wait_for" as kind:
            yes, no = (_nodes(stored[arm], depth=depth + 1) for arm in ("yes", "no"))
            question = (
                Share(stored["percent"], stored["draw"]) if kind == "split" else question_from(stored["ask"])
            )
            wait = Wait(**stored["wait"])
            return Branch(question, wait, stored["number"], yes=yes, no=no, waits_for=kind == "wait_for")
        case kind:
            return Ending(EndKind(kind), stored["name"], stored["number"])


def question_from(stored: Mapping[str, Any]) -> Question:
    """Build a question from its stored form. Raises ValueError."""
    if "answer" in stored:
        return Answered(Answer(stored["answer"]), stored.get("email"))
    if "delivered" in stored:
        return Delivered(stored["delivered"])
    return InSegment(segments.parse(stored["rule"]), stored.get("segment_rule"))


def is_wait_for(node: Node | None) -> bool:
    """Tell whether a node waits for a fact."""
    return isinstance(node, Branch) and node.waits_for


def add_wait(moment: datetime, wait: Wait, zone: ZoneInfo) -> datetime:
    """Return `moment` plus a wait. Days keep the wall clock across daylight saving changes."""
    if wait.unit in ("minutes", "hours"):
        # in UTC: adding to a local time would count wall-clock hours
        return moment.astimezone(UTC) + timedelta(**{wait.unit: wait.amount})
    days = wait.amount * (7 if wait.unit == "weeks" else 1)
    local = moment.astimezone(zone).replace(tzinfo=None) + timedelta(days=days)
    return instant(local, zone)


def due_after(moment: datetime, node: Node, window: Window, zone: ZoneInfo) -> datetime:
    """Return when a node is due whose wait is counted from `moment`. A wait-for is due at once: it may have happened.

    A branch is asked when an email may be sent: what it asks about is as fresh as can be.
    """
    return moment if is_wait_for(node) else wait_over(moment, node, window, zone)


def wait_over(moment: datetime, node: Node, window: Window, zone: ZoneInfo) -> datetime:
    """Return when the wait of a node is over that is counted from `moment`: of a wait-for, the longest time."""
    return into_window(add_wait(moment, node.wait, zone), window, zone)
