"""Edits of a sequence's plan: add, move, retime and remove a node. Pure: a stored plan gives a new stored plan.

Each node has one number for the life of its sequence. An email that was removed and comes again gets its number again,
so the unique key of messages, (enrolment, number), also refuses it a second time.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crm.core.errors import Conflict, Invalid
from crm.leads.rules import STAGES
from crm.messages.rules import ENDING_ANSWERS, Answer
from crm.segments.rules import Condition
from crm.sequences.plan_graph import (
    DEEPEST,
    LONGEST_NAME,
    MAX_PERCENT,
    MIN_PERCENT,
    NUMBERED,
    UNITS,
    Answered,
    Branch,
    Delivered,
    EndKind,
    InSegment,
    Plan,
    Step,
    Wait,
    every_stored,
    plan_from,
    stored_emails,
    stored_nodes,
)

Stored = Mapping[str, Any]  # a plan as `sequence_version.plan` holds it
Node = Mapping[str, Any]  # one of its nodes
Spot = int | tuple[int, bool]  # after the node of this number, or first in this arm of a branch

MOST_STEPS = 50
MOST_NODES = 100
LONGEST_WAIT = {"minutes": 10_000, "hours": 2_000, "days": 365, "weeks": 52}
# Stages that a person can wait for: the others end their sequences.
OPEN_STAGES = tuple(
    dict.fromkeys(
        stage
        for stages in STAGES.values()
        for stage, one in stages.items()
        if not one.ends and stage not in ("scheduled", "consult_scheduled")
    )
)
FIRST = -1  # the place before the first node, for `add`


def numbered(plan: Stored, *, earlier: Sequence[Stored]) -> dict[str, Any]:
    """Return a plan in the format whose nodes carry their number, for editing.

    `earlier` are the plans of all versions of the sequence, this one included.
    """
    kept = {
        name: value for name, value in plan.items() if name not in ("steps", "nodes", "format", "shipped")
    }
    if plan.get("format") == NUMBERED:
        return {**kept, "format": NUMBERED, "nodes": stored_nodes(plan)}
    known, fresh = number_of_item(earlier), next_number(earlier)
    nodes = []
    for node in stored_nodes(plan):
        number = known.get(node["item"])
        if number is None:
            number, fresh = fresh, fresh + 1
        nodes.append({"number": number, "item": node["item"], "wait": dict(node["wait"])})
    return {**kept, "format": NUMBERED, "nodes": nodes}


def number_of_item(plans: Sequence[Stored]) -> dict[str, int]:
    """Return email -> its number, where every plan agrees on it. In the first format, plans may not agree."""
    numbers: dict[str, set[int]] = {}
    items: dict[int, set[str]] = {}
    for plan in plans:
        for node in stored_emails(plan):
            numbers.setdefault(node["item"], set()).add(node["number"])
            items.setdefault(node["number"], set()).add(node["item"])
    return {
        item: min(found) for item, found in numbers.items() if len(found) == 1 and len(items[min(found)]) == 1
    }


def next_number(plans: Sequence[Stored]) -> int:
    """Return the lowest number above all that these plans use."""
    return 1 + max((node["number"] for plan in plans for node in _every(plan)), default=-1)


def _every(plan: Stored) -> Iterator[Node]:
    return every_stored(stored_nodes(plan))


def start_with(plan: Stored, segment: Mapping[str, Any] | None) -> dict[str, Any]:
    """Let only people of a segment start, or (None) everyone who opts in."""
    others = {name: value for name, value in plan.items() if name != "starts"}
    return others if segment is None else {**others, "starts": dict(segment)}


def spot_from(text: str) -> Spot:
    """Read a place such as "5" (after node 5) or "7.yes" (first in that arm of branch 7). Raises Conflict."""
    number, _, arm = text.partition(".")
    if not number.removeprefix("-").isdecimal() or not number.isascii() or len(number) > 9:
        raise Conflict(GONE)
    if arm not in ("", "yes", "no"):
        raise Conflict(GONE)
    return (int(number), arm == "yes") if arm else int(number)


def add(plan: Stored, *, item: str, wait: Wait, after: Spot, number: int) -> dict[str, Any]:
    """Add an email at a place. Raises Invalid."""
    emails = stored_emails(plan)
    if any(node["item"] == item for node in emails):
        raise Invalid({"item": ["This email is in the sequence already. A person never gets it twice."]})
    if len(emails) >= MOST_STEPS:
        raise Invalid({"item": [f"A sequence has at most {MOST_STEPS} emails."]})
    return insert(plan, {"number": number, "item": item, "wait": _stored_wait(wait)}, spot=after)


def branch(ask: Mapping[str, Any], *, wait: Wait, number: int) -> dict[str, Any]:
    """Return a new branch whose arms are empty."""
    return {
        "number": number, "kind": "branch", "wait": _stored_wait(wait), "ask": dict(ask), "yes": [], "no": [],
    }  # fmt: skip


def wait_for(ask: Mapping[str, Any], *, wait: Wait, number: int) -> dict[str, Any]:
    """Return a new wait for a fact, at most as long as `wait`, whose ways are empty. Raises Invalid."""
    if not wait.amount:
        raise Invalid({"amount": ["Enter at least 1."]})
    return branch(ask, wait=wait, number=number) | {"kind": "wait_for"}


def split(percent: str, *, wait: Wait, number: int, sequence_id: int) -> dict[str, Any]:
    """Return a new split whose ways are empty. Raises Invalid."""
    if not percent.isascii() or not percent.isdigit() or len(percent) > 2 or not int(percent):
        raise Invalid({"percent": [f"Enter a whole number from {MIN_PERCENT} to {MAX_PERCENT}."]})
    return {
        "number": number, "kind": "split", "wait": _stored_wait(wait), "percent": int(percent),
        "draw": f"{sequence_id}:{number}", "yes": [], "no": [],
    }  # fmt: skip


def pause(*, wait: Wait, number: int) -> dict[str, Any]:
    """Return a new wait. Raises Invalid."""
    if not wait.amount:
        raise Invalid({"amount": ["Enter at least 1."]})
    return {"number": number, "kind": "wait", "wait": _stored_wait(wait)}


def ending(kind: str, *, name: str, number: int) -> dict[str, Any]:
    """Return a new goal, exit or end. Raises Invalid."""
    if kind not in set(EndKind):
        raise Invalid({"kind": ["Choose a goal, an exit or an end."]})
    if not name or len(name) > LONGEST_NAME:
        raise Invalid({"name": [f"Give it a name of at most {LONGEST_NAME} characters."]})
    return {"number": number, "kind": kind, "name": name}


def insert(plan: Stored, node: Node, *, spot: Spot) -> dict[str, Any]:
    """Insert a node at a place. Raises Invalid, or Conflict when the place is gone."""
    if sum(1 for _ in _every(plan)) >= MOST_NODES:
        raise Invalid({"_": [f"A sequence has at most {MOST_NODES} parts."]})
    nodes = stored_nodes(plan)
    if spot == FIRST:
        changed: list[Node] | None = [node, *nodes]
    elif isinstance(spot, tuple):
        arm = "yes" if spot[1] else "no"
        changed = _in_list(nodes, spot[0], lambda found, place: _first_in_arm(found, place, arm, node))
    else:
        changed = _in_list(nodes, spot, lambda found, place: [*found[: place + 1], node, *found[place + 1 :]])
    made = _with(plan, changed)
    if _depth(stored_nodes(made)) > DEEPEST:
        raise Invalid({"_": [f"Branches can be nested {DEEPEST} deep."]})
    return made


def _first_in_arm(nodes: Sequence[Node], place: int, arm: str, node: Node) -> list[Node]:
    outer = nodes[place]
    if arm not in outer:
        raise Conflict(GONE)
    return [*nodes[:place], {**outer, arm: [node, *outer[arm]]}, *nodes[place + 1 :]]


def _depth(nodes: Sequence[Node]) -> int:
    return max(
        (1 + max(_depth(node["yes"]), _depth(node["no"])) for node in nodes if "yes" in node), default=0
    )


def move(plan: Stored, number: int, *, by: int) -> dict[str, Any]:
    """Move a node up (`by` = -1) or down (1) in its own list; at its end nothing changes. Its wait moves with it."""

    def moved(nodes: Sequence[Node], old: int) -> list[Node]:
        new = min(max(old + by, 0), len(nodes) - 1)
        changed = list(nodes)
        changed.insert(new, changed.pop(old))
        return changed

    return _with(plan, _in_list(stored_nodes(plan), number, moved))


def retime(plan: Stored, number: int, *, wait: Wait) -> dict[str, Any]:
    """Change the wait before a node."""

    def retimed(nodes: Sequence[Node], place: int) -> list[Node]:
        if "wait" not in nodes[place]:
            raise Conflict(GONE)
        return [*nodes[:place], {**nodes[place], "wait": _stored_wait(wait)}, *nodes[place + 1 :]]

    return _with(plan, _in_list(stored_nodes(plan), number, retimed))


def remove(plan: Stored, number: int) -> dict[str, Any]:
    """Remove a node; a branch with all that is in its arms."""
    return _with(
        plan,
        _in_list(stored_nodes(plan), number, lambda nodes, place: [*nodes[:place], *nodes[place + 1 :]]),
    )


GONE = "This is no longer in the draft. Look at the draft and repeat the change."


def _in_list(
    nodes: Sequence[Node], number: int, edit: Callable[[Sequence[Node], int], list[Node]]
) -> list[Node] | None:
    """Edit the list that holds a node, wherever it is; None when no list does."""
    for place, node in enumerate(nodes):
        if node["number"] == number:
            return edit(nodes, place)
        for arm in ("yes", "no"):
            changed = _in_list(node.get(arm, ()), number, edit)
            if changed is not None:
                return [*nodes[:place], {**node, arm: changed}, *nodes[place + 1 :]]
    return None


def _with(plan: Stored, nodes: list[Node] | None) -> dict[str, Any]:
    if nodes is None:
        raise Conflict(GONE)
    return {**plan, "nodes": nodes}


def _stored_wait(wait: Wait) -> dict[str, Any]:
    return {"amount": wait.amount, "unit": wait.unit}


def wait_from(amount: str, unit: str) -> Wait:
    """Build a wait from what was typed. Raises Invalid."""
    longest = LONGEST_WAIT.get(unit)
    if longest is None:
        raise Invalid({"unit": [f"Choose {', '.join(UNITS[:-1])} or {UNITS[-1]}."]})
    if not amount.isascii() or not amount.isdigit() or len(amount) > 6 or int(amount) > longest:
        raise Invalid({"amount": [f"Enter a whole number of {unit}, 0 to {longest:,}."]})
    return Wait(int(amount), unit)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What staff should know about a draft. `number` names the step, None the whole draft."""

    message: str  # for gettext, with places for `values`
    values: Mapping[str, str] = field(default_factory=dict)
    number: int | None = None
    blocks: bool = False  # it must be fixed before publishing

    @property
    def text(self) -> str:
        """The message in English."""
        return self.message % self.values


EMPTY = "Add at least one email."
UNTRANSLATED = (
    "No approved version in %(language)s. People who read it wait before this email until there is one."
)
AT_ONCE = "This email follows the one before at once."
UNREACHED = "Nobody comes here: every way before it ends."
SAME_WAY = "Both ways are the same. Add what differs to one of them."
ASKED_TOO_EARLY = "The email that this question is about does not come before it."
NO_BUTTON = "No email before it has a button for this answer, so everybody takes the way “no”."
BOOKING_ENDS = "Nobody takes the way “yes”: a booking ends this sequence."
ALWAYS_NO = "Nobody takes the way “yes”: who asks for a call gets no more emails of this sequence."


def findings(
    plan: Stored,
    *,
    approved: Collection[tuple[str, str]],
    languages: Mapping[str, str],
    buttons: Collection[tuple[str, Answer]] | None = None,
) -> list[Finding]:
    """Return what is wrong with a draft.

    `approved`: (email, language) with an approved version. `languages`: code -> name. `buttons`: (email, answer) for
    the answer buttons of emails, None if unknown. A language that lacks an email
    blocks only if no language is complete, as when a sequence goes live.
    """
    emails = stored_emails(plan)
    if not emails:
        return [Finding(message=EMPTY, blocks=True)]
    complete = any(all((node["item"], code) in approved for node in emails) for code in languages)
    found = [
        Finding(message=UNTRANSLATED, values={"language": name}, number=node["number"], blocks=not complete)
        for node in emails
        for code, name in languages.items()
        if (node["item"], code) not in approved
    ]
    graph = plan_from(plan)
    order = {node["number"]: place for place, node in enumerate(_every(plan))}
    found += [*_of_shape(graph), *_of_buttons(graph, buttons), *_of_bookings(plan, graph)]
    return sorted(found, key=lambda one: order.get(one.number or 0, 0))


def _of_shape(graph: Plan) -> Iterator[Finding]:
    reached = graph.ahead(graph.nodes[0].number)
    for number in graph.numbers:
        if number not in reached:
            yield Finding(message=UNREACHED, number=number, blocks=True)
    followed = {after.number for step in graph.steps if (after := graph.after(step.number)) is not None}
    for step in graph.steps:
        if step.number in followed and not step.wait.amount:
            yield Finding(message=AT_ONCE, number=step.number)
    for one in graph.branches:
        yield from _of_branch(graph, one)


def _of_buttons(graph: Plan, buttons: Collection[tuple[str, Answer]] | None) -> Iterator[Finding]:
    """Yield the questions about an answer that no email before them has a button for."""
    for one in graph.branches:
        question = one.question
        if buttons is None or not isinstance(question, Answered):
            continue
        before = [step for step in graph.steps if one.number in graph.ahead(step.number)]
        asked = [step for step in before if question.email in (None, step.number)]
        if not any((step.item, question.answer) in buttons for step in asked):
            yield Finding(message=NO_BUTTON, number=one.number)


def _of_bookings(plan: Stored, graph: Plan) -> Iterator[Finding]:
    """Yield the waits for a booking in a plan that a booking ends."""
    if "exit_on" in plan and "appointment_booked" not in plan["exit_on"]:
        return
    for one in graph.branches:
        if one.waits_for and one.question == InSegment(Condition("booked")):
            yield Finding(message=BOOKING_ENDS, number=one.number)


def _of_branch(graph: Plan, one: Branch) -> Iterator[Finding]:
    if not one.yes and not one.no:
        yield Finding(message=SAME_WAY, number=one.number, blocks=True)
    question = one.question
    if not isinstance(question, Answered | Delivered):
        return
    if isinstance(question, Answered) and question.answer in ENDING_ANSWERS:
        yield Finding(message=ALWAYS_NO, number=one.number)
    if question.email is not None and (
        not isinstance(graph.node(question.email), Step) or one.number not in graph.ahead(question.email)
    ):
        yield Finding(message=ASKED_TOO_EARLY, number=one.number, blocks=True)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How a draft differs from the version it was made from, by the numbers of nodes."""

    added: frozenset[int]
    moved: frozenset[int]
    retimed: frozenset[int]
    removed: tuple[str, ...]  # emails, in their old order
    parts_removed: int = 0  # branches, waits and ends
    starts: bool = False  # who starts

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return any(vars(self).values())


def changes(old: Stored, new: Stored) -> Changes:
    """Compare two plans of the same sequence: emails by their key, other nodes by their number."""
    before, after = _by_name(old), _by_name(new)
    kept = [(name, node) for name, (node, _) in after.items() if name in before]
    removed, parts = _gone(before, after)
    return Changes(
        added=_numbers(node for name, (node, _) in after.items() if name not in before),
        moved=_numbers([*_out_of_place(list(before), kept), *_in_other_arms(before, after)]),
        retimed=_numbers(node for name, node in kept if before[name][0].get("wait") != node.get("wait")),
        removed=removed,
        parts_removed=parts,
        starts=old.get("starts") != new.get("starts"),
    )


def _gone(before: "_Named", after: "_Named") -> tuple[tuple[str, ...], int]:
    """Return the emails that were removed, and how many other nodes."""
    gone = [name for name in before if name not in after]
    emails = tuple(name for name in gone if isinstance(name, str))
    return emails, len(gone) - len(emails)


def _in_other_arms(before: "_Named", after: "_Named") -> list[Node]:
    return [node for name, (node, arm) in after.items() if name in before and before[name][1] != arm]


Name = str | int  # of an email its key, of another node its number
_Named = Mapping[Name, tuple[Node, tuple[int, str] | None]]  # with the branch and the arm that a node is in


def name_of(node: Node) -> Name:
    """Return by what a node is known in every version."""
    item: str | None = node.get("item")
    return node["number"] if item is None else item


def _by_name(plan: Stored) -> _Named:
    return {name_of(node): (node, arm) for node, arm in _with_arms(stored_nodes(plan), None)}


def _with_arms(
    nodes: Sequence[Node], around: tuple[int, str] | None
) -> Iterator[tuple[Node, tuple[int, str] | None]]:
    """Yield each node with the branch and arm that it is in."""
    for node in nodes:
        yield node, around
        for arm in ("yes", "no"):
            yield from _with_arms(node.get(arm, ()), (node["number"], arm))


def _numbers(nodes: Iterable[Node]) -> frozenset[int]:
    return frozenset(node["number"] for node in nodes)


def _out_of_place(before: Sequence[Name], kept: Sequence[tuple[Name, Node]]) -> list[Node]:
    """Return the nodes that moved; as few as explain the new order."""
    places = [before.index(name) for name, _ in kept]
    stayed = _longest_in_order(places)
    return [node for (_, node), place in zip(kept, places, strict=True) if place not in stayed]


def _longest_in_order(places: Sequence[int]) -> frozenset[int]:
    """Return the longest rising part of a list: the emails that stayed while others moved around them."""
    best: list[tuple[int, ...]] = [()]
    for place in places:
        before = max((one for one in best if not one or one[-1] < place), key=len)
        best.append((*before, place))
    longest = max(best, key=len)
    return frozenset(longest)
