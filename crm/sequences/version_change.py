"""What a new version of a sequence means for the people in the sequence. Pure.

They finish the version they began, unless staff decide that they move. Who moves continues after the last email they
had, gets nothing twice, and loses only what was removed; a person for whom that is impossible stays.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from crm.sequences.rules import Plan, Step, due_after


class People(StrEnum):
    """What staff decide about the people in the sequence."""

    FINISH = "finish"  # the version they began
    MOVE = "move"  # to the new version


class Fate(StrEnum):
    """What happens to one person."""

    STAYS = "stays"  # as decided
    STAYS_FOR_ORDER = "stays_for_order"  # moving would cost them an email that they were still going to get
    STAYS_HAD = "stays_had"  # they had one of the emails that come again
    MOVES = "moves"  # to the same next email, at the same time
    CHANGES = "changes"  # to another next email, or the same at another time
    ENDS = "ends"  # nothing is left for them


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happens to the people who wait for one step of one version."""

    fate: Fate
    next: Step | None = None  # after the change
    gains: tuple[str, ...] = ()  # emails they get and would not have got
    passed: tuple[str, ...] = ()  # new emails that they do not get, because they are past the place
    loses: tuple[str, ...] = ()  # emails that were removed before they got them


def outcome(old: Plan, new: Plan, *, step: int, people: People, had_again: bool = False) -> Outcome:
    """Decide for people who wait for the step `step` of `old`.

    `had_again`: they had an email that `new` has and `old` has not (it was removed once and comes again).
    """
    if people is People.FINISH or old.step(step) is None:
        return Outcome(fate=Fate.STAYS)
    if had_again:
        return Outcome(fate=Fate.STAYS_HAD)
    behind, ahead = _divided(new, had=_items(old.before(step)))
    due = _items(old.steps[old.places[step] :])
    if not set(due).isdisjoint(_items(behind)):
        return Outcome(fate=Fate.STAYS_FOR_ORDER)
    after = ahead[0] if ahead else None
    kept = _items(ahead)
    return Outcome(
        fate=_fate(old, new, old.steps[old.places[step]], after),
        next=after,
        gains=_unknown(ahead, old),
        passed=_unknown(behind, old),
        loses=tuple(item for item in due if item not in kept),
    )


def _items(steps: Iterable[Step]) -> tuple[str, ...]:
    return tuple(one.item for one in steps)


def _divided(new: Plan, *, had: Collection[str]) -> tuple[Sequence[Step], Sequence[Step]]:
    """Return the steps up to the last email that they had, and those after it."""
    begins = 1 + max((place for place, one in enumerate(new.steps) if one.item in had), default=-1)
    return new.steps[:begins], new.steps[begins:]


def _unknown(steps: Sequence[Step], old: Plan) -> tuple[str, ...]:
    known = _items(old.steps)
    return tuple(one.item for one in steps if one.item not in known)


def _fate(old: Plan, new: Plan, before: Step, after: Step | None) -> Fate:
    if after is None:
        return Fate.ENDS
    same = (before.item, before.wait, old.window) == (after.item, after.wait, new.window)
    return Fate.MOVES if same else Fate.CHANGES


def due_in(new: Plan, step: Step, *, anchor: datetime, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when a person's next email is due after a change: their wait counts from the last email, as before."""
    return max(now, due_after(anchor, step, new.window, zone))


@dataclass(frozen=True, kw_only=True)
class Group:
    """People of a sequence who share a version, the step they wait for, and whether they had what comes again."""

    version: int  # number of the version
    step: int
    had_again: bool
    people: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the preview: a group, the email it waits for, and what happens to it."""

    group: Group
    waits_for: str | None
    outcome: Outcome


def preview(groups: Iterable[Group], plans: dict[int, Plan], new: Plan, *, people: People) -> Sequence[Row]:
    """Return what would happen to everyone in the sequence. `plans`: version number -> plan."""
    rows = []
    for group in groups:
        old = plans[group.version]
        step = old.step(group.step)
        decided = outcome(old, new, step=group.step, people=people, had_again=group.had_again)
        rows.append(Row(group=group, waits_for=step.item if step else None, outcome=decided))
    return rows


def first_time(rows: Iterable[Row]) -> dict[str, int]:
    """Return email -> how many people in the sequence would get it who otherwise would not."""
    found: dict[str, int] = {}
    for row in rows:
        for item in row.outcome.gains:
            found[item] = found.get(item, 0) + row.group.people
    return found
