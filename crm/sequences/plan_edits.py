"""Edits of a sequence's plan: add, move, retime and remove an email. Pure: a stored plan gives a new stored plan.

Each email has one number for the life of its sequence. An email that was removed and comes again gets its number
again, so the unique key of messages, (enrolment, number), also refuses it a second time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crm.core.errors import Conflict, Invalid
from crm.sequences.rules import NUMBERED, UNITS, Wait, stored_nodes

Stored = Mapping[str, Any]  # a plan as `sequence_version.plan` holds it

MOST_STEPS = 50
LONGEST_WAIT = {"minutes": 10_000, "hours": 2_000, "days": 365, "weeks": 52}
FIRST = -1  # the place before the first email, for `add`


def numbered(plan: Stored, *, earlier: Sequence[Stored]) -> dict[str, Any]:
    """Return a plan in the format whose steps carry their number, for editing.

    `earlier` are the plans of all versions of the sequence, this one included.
    """
    known, fresh = number_of_item(earlier), next_number(earlier)
    nodes = []
    for node in stored_nodes(plan):
        number = known.get(node["item"])
        if number is None:
            number, fresh = fresh, fresh + 1
        nodes.append({"number": number, "item": node["item"], "wait": dict(node["wait"])})
    kept = {name: value for name, value in plan.items() if name not in ("steps", "nodes", "format")}
    return {**kept, "format": NUMBERED, "nodes": nodes}


def number_of_item(plans: Sequence[Stored]) -> dict[str, int]:
    """Return email -> its number, where every plan agrees on it. In the first format, plans may not agree."""
    numbers: dict[str, set[int]] = {}
    items: dict[int, set[str]] = {}
    for plan in plans:
        for node in stored_nodes(plan):
            numbers.setdefault(node["item"], set()).add(node["number"])
            items.setdefault(node["number"], set()).add(node["item"])
    return {
        item: min(found) for item, found in numbers.items() if len(found) == 1 and len(items[min(found)]) == 1
    }


def next_number(plans: Sequence[Stored]) -> int:
    """Return the lowest number above all that these plans use."""
    return 1 + max((node["number"] for plan in plans for node in stored_nodes(plan)), default=-1)


def add(plan: Stored, *, item: str, wait: Wait, after: int, number: int) -> dict[str, Any]:
    """Add an email after the step with the number `after`, or at the beginning (FIRST). Raises Invalid."""
    nodes = stored_nodes(plan)
    if any(node["item"] == item for node in nodes):
        raise Invalid({"item": ["This email is in the sequence already. A person never gets it twice."]})
    if len(nodes) >= MOST_STEPS:
        raise Invalid({"item": [f"A sequence has at most {MOST_STEPS} emails."]})
    place = 0 if after == FIRST else _place(nodes, after) + 1
    node = {"number": number, "item": item, "wait": _stored_wait(wait)}
    return {**plan, "nodes": [*nodes[:place], node, *nodes[place:]]}


def move(plan: Stored, number: int, *, by: int) -> dict[str, Any]:
    """Move an email up (`by` = -1) or down (1); at the end of the list nothing changes. Its wait moves with it."""
    nodes = stored_nodes(plan)
    old = _place(nodes, number)
    new = min(max(old + by, 0), len(nodes) - 1)
    nodes.insert(new, nodes.pop(old))
    return {**plan, "nodes": nodes}


def retime(plan: Stored, number: int, *, wait: Wait) -> dict[str, Any]:
    """Change the wait before an email."""
    nodes = stored_nodes(plan)
    place = _place(nodes, number)
    nodes[place] = {**nodes[place], "wait": _stored_wait(wait)}
    return {**plan, "nodes": nodes}


def remove(plan: Stored, number: int) -> dict[str, Any]:
    """Remove an email."""
    nodes = stored_nodes(plan)
    del nodes[_place(nodes, number)]
    return {**plan, "nodes": nodes}


def _place(nodes: Sequence[Mapping[str, Any]], number: int) -> int:
    for place, node in enumerate(nodes):
        if node["number"] == number:
            return place
    raise Conflict("This email is no longer in the draft. Look at the draft and repeat the change.")


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


def findings(
    plan: Stored, *, approved: Collection[tuple[str, str]], languages: Mapping[str, str]
) -> list[Finding]:
    """Return what is wrong with a draft.

    `approved`: (email, language) with an approved version. `languages`: code -> name. A language that lacks an email
    blocks only if no language is complete, as when a sequence goes live.
    """
    nodes = stored_nodes(plan)
    if not nodes:
        return [Finding(message=EMPTY, blocks=True)]
    complete = any(all((node["item"], code) in approved for node in nodes) for code in languages)
    found = []
    for place, node in enumerate(nodes):
        found += [
            Finding(
                message=UNTRANSLATED, values={"language": name}, number=node["number"], blocks=not complete
            )
            for code, name in languages.items()
            if (node["item"], code) not in approved
        ]
        if place and not node["wait"]["amount"]:
            found.append(Finding(message=AT_ONCE, number=node["number"]))
    return found


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How a draft differs from the version it was made from, by the numbers of steps."""

    added: frozenset[int]
    moved: frozenset[int]
    retimed: frozenset[int]
    removed: tuple[str, ...]  # emails, in their old order

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.moved or self.retimed or self.removed)


def changes(old: Stored, new: Stored) -> Changes:
    """Compare two plans of the same sequence by their emails."""
    before, after = _by_item(old), _by_item(new)
    kept = [node for item, node in after.items() if item in before]
    return Changes(
        added=_numbers(node for item, node in after.items() if item not in before),
        moved=_numbers(_out_of_place(list(before), kept)),
        retimed=_numbers(node for node in kept if before[node["item"]]["wait"] != node["wait"]),
        removed=tuple(item for item in before if item not in after),
    )


def _by_item(plan: Stored) -> dict[str, Mapping[str, Any]]:
    return {node["item"]: node for node in stored_nodes(plan)}


def _numbers(nodes: Iterable[Mapping[str, Any]]) -> frozenset[int]:
    return frozenset(node["number"] for node in nodes)


def _out_of_place(before: Sequence[str], kept: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the emails that moved; as few as explain the new order."""
    places = [before.index(node["item"]) for node in kept]
    stayed = _longest_in_order(places)
    return [node for node, place in zip(kept, places, strict=True) if place not in stayed]


def _longest_in_order(places: Sequence[int]) -> frozenset[int]:
    """Return the longest rising part of a list: the emails that stayed while others moved around them."""
    best: list[tuple[int, ...]] = [()]
    for place in places:
        before = max((one for one in best if not one or one[-1] < place), key=len)
        best.append((*before, place))
    longest = max(best, key=len)
    return frozenset(longest)
