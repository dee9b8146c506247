"""What a new version of a sequence means for the people in the sequence. Pure.

They finish the version they began, unless staff decide that they move. Who moves continues after the last email they
had, gets nothing twice, and loses only what was removed; a person for whom that is impossible stays.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from crm.sequences.plan_graph import Node, Plan, Step, due_after


class People(StrEnum):
    """What staff decide about the people in the sequence."""

    FINISH = "finish"  # the version they began
    MOVE = "move"  # to the new version


class Fate(StrEnum):
    """What happens to one person."""

    STAYS = "stays"  # as decided
    STAYS_FOR_ORDER = "stays_for_order"  # moving would cost them an email that they were still going to get
    STAYS_FOR_BRANCH = "stays_for_branch"  # their place in a branch is not in the new version
    STAYS_HAD = "stays_had"  # they had one of the emails that come again
    MOVES = "moves"  # to the same next email, at the same time
    CHANGES = "changes"  # to another next email, or the same at another time
    ENDS = "ends"  # nothing is left for them


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happens to the people who wait for one step of one version."""

    fate: Fate
    next: Node | None = None  # where they are after the change
    gains: tuple[str, ...] = ()  # emails they get and would not have got
    passed: tuple[str, ...] = ()  # new emails that they do not get, because they are past the place
    loses: tuple[str, ...] = ()  # emails that were removed before they got them


def outcome(old: Plan, new: Plan, *, step: int, people: People, had_again: bool = False) -> Outcome:
    """Decide for people who are at the node `step` of `old`.

    `had_again`: they had an email that `new` has and `old` has not (it was removed once and comes again).
    """
    here = old.node(step)
    if people is People.FINISH or here is None:
        return Outcome(fate=Fate.STAYS)
    if had_again:
        return Outcome(fate=Fate.STAYS_HAD)
    place = _place(old, new, here)
    return Outcome(fate=Fate.STAYS_FOR_BRANCH) if place is None else _moved(old, new, here, place.next)


def _moved(old: Plan, new: Plan, here: Node, after: Node | None) -> Outcome:
    """Decide for people who are at `here` in the old plan and would continue at `after` in the new one."""
    had, due = _items(old.before(here.number)), _items(_emails(old, old.ahead(here.number)))
    ahead = _emails(new, new.ahead(after.number) if after else frozenset())
    behind = [one for one in new.steps if one not in ahead]
    if not set(due).isdisjoint(_items(behind)) or not set(had).isdisjoint(_items(ahead)):
        return Outcome(fate=Fate.STAYS_FOR_ORDER)
    kept = _items(ahead)
    return Outcome(
        fate=_fate(old, new, here, after),
        next=after,
        gains=_unknown(ahead, old),
        passed=_unknown(behind, old),
        loses=tuple(item for item in due if item not in kept),
    )


@dataclass(frozen=True)
class _Place:
    """Where people continue in the new plan; `next` is None after its last node."""

    next: Node | None


def _place(old: Plan, new: Plan, here: Node) -> _Place | None:
    """Return where people continue; None where the two plans do not say it.

    Before any branch: after the last email that they had. Otherwise at the same node, if it is on the same arms.
    """
    passed = _passed_branches(old, here)
    if not passed:
        had = _items(old.before(here.number))
        last = next((one for one in reversed(new.steps) if one.item in had), None)
        if last is None:
            return _Place(new.nodes[0] if new.nodes else None)
        return None if new.arms(last.number) else _Place(new.after(last.number))
    same = new.node(here.number)
    if same is None or new.arms(here.number) != old.arms(here.number):
        return None
    return _Place(same) if passed.isdisjoint(new.ahead(here.number)) else None


def _passed_branches(plan: Plan, here: Node) -> frozenset[int]:
    numbers = [node.number for node in plan.branches if node.number != here.number]
    return frozenset(number for number in numbers if here.number in plan.ahead(number))


def _emails(plan: Plan, numbers: Collection[int]) -> Sequence[Step]:
    return [one for one in plan.steps if one.number in numbers]


def _items(steps: Iterable[Step]) -> tuple[str, ...]:
    return tuple(one.item for one in steps)


def _unknown(steps: Iterable[Step], old: Plan) -> tuple[str, ...]:
    known = _items(old.steps)
    return tuple(one.item for one in steps if one.item not in known)


def _fate(old: Plan, new: Plan, before: Node, after: Node | None) -> Fate:
    if after is None:
        return Fate.ENDS
    same = (_what(before), before.wait, old.window) == (_what(after), after.wait, new.window)
    return Fate.MOVES if same else Fate.CHANGES


def _what(node: Node) -> str | int:
    return node.item if isinstance(node, Step) else node.number


def due_in(new: Plan, node: Node, *, anchor: datetime, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when a person is due after a change: their wait counts from the last email or branch, as before."""
    return max(now, due_after(anchor, node, new.window, zone))


@dataclass(frozen=True, kw_only=True)
class Group:
    """People of a sequence who share a version, the step they wait for, and whether they had what comes again."""

    version: int  # number of the version
    step: int
    had_again: bool
    people: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the preview: a group, where it is, the email it waits for, and what happens to it."""

    group: Group
    at: Node | None
    waits_for: str | None
    outcome: Outcome


def preview(groups: Iterable[Group], plans: dict[int, Plan], new: Plan, *, people: People) -> Sequence[Row]:
    """Return what would happen to everyone in the sequence. `plans`: version number -> plan."""
    rows = []
    for group in groups:
        old = plans[group.version]
        here = old.node(group.step)
        decided = outcome(old, new, step=group.step, people=people, had_again=group.had_again)
        item = here.item if isinstance(here, Step) else None
        rows.append(Row(group=group, at=here, waits_for=item, outcome=decided))
    return rows


def first_time(rows: Iterable[Row]) -> dict[str, int]:
    """Return email -> how many people in the sequence would get it who otherwise would not."""
    found: dict[str, int] = {}
    for row in rows:
        for item in row.outcome.gains:
            found[item] = found.get(item, 0) + row.group.people
    return found
