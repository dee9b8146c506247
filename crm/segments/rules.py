"""The rule of a segment: a tree of conditions about a person. Pure: parse what is stored, evaluate it for known facts.

`segment_sql` compiles the same tree; a test on the real database holds the two equal.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

DEEPEST = 5
MOST_CONDITIONS = 50
MOST_VALUES = 50
LONGEST_VALUE = 200
LONGEST_DAYS = 3_650
MOST_TIMES = 100


class Shape(StrEnum):
    """What a condition on a field needs."""

    CHOICE = "choice"  # one of `values`
    EVENT = (
        "event"  # at least `times` within `days` (None: ever), of one of `values` where the field has them
    )
    SHARE = "share"  # `times` percent of people, by chance; `values` names the draw


# The fields that marketing may use. None of them tells about a person's health.
FIELDS: Mapping[str, Shape] = {
    "tag": Shape.CHOICE,
    "language": Shape.CHOICE,
    "us_state": Shape.CHOICE,
    "consent": Shape.CHOICE,  # opted in to a topic
    "stage": Shape.CHOICE,  # of one of their leads
    "source": Shape.CHOICE,
    "practice": Shape.CHOICE,  # that referred them, by id
    "sequence": Shape.CHOICE,  # in it now
    "sequence_completed": Shape.CHOICE,
    "sequence_exited": Shape.CHOICE,
    "lead_opened": Shape.EVENT,
    "confirmed": Shape.EVENT,
    "booked": Shape.EVENT,  # a consultation
    "email_sent": Shape.EVENT,  # educational
    "share": Shape.SHARE,
}
EVENTS_WITH_VALUES = frozenset({"email_sent"})


class RuleError(ValueError):
    """A rule that cannot be read. The message says why."""


@dataclass(frozen=True)
class Condition:
    """One condition. Which parts count, the shape of its field tells."""

    field: str
    values: tuple[str, ...] = ()
    times: int = 1
    days: int | None = None


@dataclass(frozen=True)
class All:
    """Every part holds."""

    parts: tuple["Node", ...] = ()


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple["Node", ...] = ()


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: "Node"


Node = Condition | All | AnyOf | Not


def parse(stored: Any) -> Node:
    """Build a rule from its stored form. Raises RuleError.

    Shape: {"all": [...]}, {"any": [...]}, {"not": {...}}, {"field": "tag", "values": [...], "times": 1, "days": 30}
    """
    rule = _node(stored, depth=1)
    if sum(1 for _ in conditions(rule)) > MOST_CONDITIONS:
        raise RuleError(f"A segment has at most {MOST_CONDITIONS} conditions.")
    return rule


def _node(stored: Any, *, depth: int) -> Node:
    if depth > DEEPEST:
        raise RuleError(f"Groups can be nested {DEEPEST} deep.")
    match stored:
        case {"all": list(parts), **rest} if not rest:
            return All(tuple(_node(part, depth=depth + 1) for part in parts))
        case {"any": list(parts), **rest} if not rest:
            return AnyOf(tuple(_node(part, depth=depth + 1) for part in parts))
        case {"not": part, **rest} if not rest:
            return Not(_node(part, depth=depth))
        case {"field": str(name), **rest} if rest.keys() <= {"values", "times", "days"}:
            return _condition(name, rest.get("values", ()), rest.get("times", 1), rest.get("days"))
        case _:
            raise RuleError("This rule cannot be read.")


def _condition(name: str, values: Any, times: Any, days: Any) -> Condition:
    shape = FIELDS.get(name)
    if shape is None:
        raise RuleError(f"Field {name[:40]} not found.")
    if not _are_values(values) or not _is_number(times, 1, MOST_TIMES):
        raise RuleError("This condition cannot be read.")
    if days is not None and not _is_number(days, 1, LONGEST_DAYS):
        raise RuleError(f"Use 1 to {LONGEST_DAYS:,} days.")
    if not values and shape is not Shape.EVENT:
        raise RuleError("Choose at least one value.")
    if values and not _takes_values(name):
        raise RuleError("This condition takes no value.")
    return Condition(name, tuple(values), times, days)


def _takes_values(name: str) -> bool:
    return FIELDS[name] is not Shape.EVENT or name in EVENTS_WITH_VALUES


def _are_values(values: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and len(values) <= MOST_VALUES
        and all(
            isinstance(value, str) and 0 < len(value) <= LONGEST_VALUE and "\0" not in value
            for value in values
        )
    )


def _is_number(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def stored(node: Node) -> dict[str, Any]:
    """Return the stored form of a rule."""
    match node:
        case All(parts):
            return {"all": [stored(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [stored(part) for part in parts]}
        case Not(part):
            return {"not": stored(part)}
        case Condition(name, values, times, days):
            return {"field": name, "values": list(values), "times": times, "days": days}


def conditions(node: Node) -> Iterator[Condition]:
    """Yield the conditions of a rule, in order."""
    match node:
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from conditions(part)
        case Not(part):
            yield from conditions(part)
        case Condition():
            yield node


def is_empty(node: Node) -> bool:
    """Tell whether a rule has a group without conditions: it would mean everyone, or nobody."""
    match node:
        case All(parts) | AnyOf(parts):
            return not parts or any(is_empty(part) for part in parts)
        case Not(part):
            return is_empty(part)
        case Condition():
            return False


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of a person: when, and of what."""

    at: datetime
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class Person:
    """What is known about one person: field -> values, field -> events."""

    id: int
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)


def holds(node: Node, person: Person, *, now: datetime) -> bool:
    """Tell whether a rule holds for a person."""
    match node:
        case All(parts):
            return all(holds(part, person, now=now) for part in parts)
        case AnyOf(parts):
            return any(holds(part, person, now=now) for part in parts)
        case Not(part):
            return not holds(part, person, now=now)
        case Condition():
            return _HOLDS[FIELDS[node.field]](node, person, now)


def _holds_choice(condition: Condition, person: Person, _now: datetime) -> bool:
    return not person.values.get(condition.field, frozenset()).isdisjoint(condition.values)


def _holds_event(condition: Condition, person: Person, now: datetime) -> bool:
    since = None if condition.days is None else now - timedelta(days=condition.days)
    found = [
        event
        for event in person.events.get(condition.field, ())
        if (since is None or event.at > since) and (not condition.values or event.value in condition.values)
    ]
    return len(found) >= condition.times


def _holds_share(condition: Condition, person: Person, _now: datetime) -> bool:
    return is_drawn(person.id, draw=condition.values[0], percent=condition.times)


def is_drawn(person_id: int, *, draw: str, percent: int) -> bool:
    """Tell whether a person is in a share of people: the same people each time, by a hash of the draw's name and their id."""
    digest = hashlib.sha256(f"{draw}:{person_id}".encode()).hexdigest()
    return int(digest[:8], 16) % 100 < percent


_HOLDS: Mapping[Shape, Callable[[Condition, Person, datetime], bool]] = {
    Shape.CHOICE: _holds_choice,
    Shape.EVENT: _holds_event,
    Shape.SHARE: _holds_share,
}
