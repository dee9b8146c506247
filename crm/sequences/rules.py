"""The rules of sequences: when the next step is due, and what to do then. Pure: facts and now give a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, assert_never
from zoneinfo import ZoneInfo

from crm.messages.limits.send_window import Window, instant, into_window, window_from

UNITS = ("minutes", "hours", "days", "weeks")
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
    HOLD = "hold"
    EXIT = "exit"
    COMPLETE = "complete"


@dataclass(frozen=True)
class Wait:
    """Time between two steps. Days and weeks keep the local time of day; hours and minutes are exact."""

    amount: int
    unit: str

    def __post_init__(self) -> None:
        if self.unit not in UNITS or not 0 <= self.amount <= 10_000:
            raise ValueError("A wait is a number of minutes, hours, days or weeks.")


@dataclass(frozen=True)
class Step:
    """One email, and how long after the step before it.

    `number` stays with the email in every later version of the sequence, wherever it moves. An enrolment and its
    messages point at it, so (enrolment, number) keeps an email from going out twice.
    """

    item: str  # content item key
    wait: Wait
    number: int


@dataclass(frozen=True)
class Plan:
    """What a sequence version does: its steps in the order of sending."""

    window: Window
    steps: tuple[Step, ...]

    @cached_property
    def places(self) -> Mapping[int, int]:
        """Number of a step -> its place in the order."""
        return {step.number: place for place, step in enumerate(self.steps)}

    @cached_property
    def end(self) -> int:
        """The number that an enrolment points at when no step is left."""
        return 1 + max((step.number for step in self.steps), default=-1)

    def step(self, number: int) -> Step | None:
        """Return the step of this number; None when the plan does not have it."""
        place = self.places.get(number)
        return None if place is None else self.steps[place]

    def after(self, number: int) -> Step | None:
        """Return the step that follows; None after the last."""
        place = self.places[number] + 1
        return self.steps[place] if place < len(self.steps) else None

    def before(self, number: int) -> Sequence[Step]:
        """Return the steps that come earlier in the order: all of them when the plan does not have this one."""
        return self.steps[: self.places.get(number, len(self.steps))]


NUMBERED = (
    2  # the format whose steps carry their number; in the first one, a number is the place in the order
)


def plan_from(data: Mapping[str, Any]) -> Plan:
    """Build a plan from its stored form; `crm/content/render/library.py` reads the file. Raises ValueError with the reason.

    Shape: {"format": 2, "window": {"start": "09:00", "end": "17:00", "weekdays": [0, ...]},
            "nodes": [{"number": 0, "item": key, "wait": {"amount": 2, "unit": "days"}}, ...]}
    In the first format, which files have, the nodes are called "steps" and have no number.
    """
    try:
        return Plan(
            window=window_from(data["window"]),
            steps=tuple(
                Step(node["item"], Wait(**node["wait"]), node["number"]) for node in stored_nodes(data)
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"The plan lacks {error}.") from error


def stored_nodes(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of a stored plan of either format, each with its number. Raises KeyError without them."""
    if data.get("format") == NUMBERED:
        return list(data["nodes"])
    return [{"number": place, **step} for place, step in enumerate(data["steps"])]


def add_wait(moment: datetime, wait: Wait, zone: ZoneInfo) -> datetime:
    """Return `moment` plus a wait. Days keep the wall clock across daylight saving changes."""
    if wait.unit in ("minutes", "hours"):
        # in UTC: adding to a local time would count wall-clock hours
        return moment.astimezone(UTC) + timedelta(**{wait.unit: wait.amount})
    days = wait.amount * (7 if wait.unit == "weeks" else 1)
    local = moment.astimezone(zone).replace(tzinfo=None) + timedelta(days=days)
    return instant(local, zone)


def due_after(moment: datetime, step: Step, window: Window, zone: ZoneInfo) -> datetime:
    """Return when a step is due whose wait is counted from `moment`."""
    return into_window(add_wait(moment, step.wait, zone), window, zone)


@dataclass(frozen=True)
class Facts:
    """What the planner knows about one due enrolment."""

    step: int
    zone: ZoneInfo
    refusal: str | None  # why this person may not get it, from the consent rules
    refused_until: datetime | None  # when that passes by itself
    content: bool  # an approved version in the person's language exists
    capped_until: datetime | None  # when the frequency cap allows the next email
    send_now: bool  # staff asked for it: neither window nor recent contact counts this once
    touched_until: datetime | None = None  # when it is long enough after staff were in touch
    too_late: bool = False  # due so long ago that the email is listed as too late, at whatever hour


@dataclass(frozen=True)
class Decision:
    """What to do with an enrolment. `due_at` is set for SEND (the next step) and WAIT."""

    act: Act
    due_at: datetime | None = None
    reason: str | None = None
    next_step: int | None = None  # of SEND: the number that follows
    last: bool = False

    @cached_property
    def state(self) -> EnrolmentState:
        """The state that the enrolment gets. Cached: thousands of people share one decision."""
        match self.act:
            case Act.SEND:
                return EnrolmentState.COMPLETED if self.last else EnrolmentState.ACTIVE
            case Act.WAIT:
                return EnrolmentState.ACTIVE
            case Act.HOLD:
                return EnrolmentState.HELD
            case Act.EXIT:
                return EnrolmentState.EXITED
            case Act.COMPLETE:
                return EnrolmentState.COMPLETED
            case _:
                assert_never(self.act)


def decide(plan: Plan, facts: Facts, now: datetime) -> Decision:
    """Decide what happens to an enrolment that is due.

    Order: no step left, lasting refusal, passing refusal, frequency cap or recent contact, missing content, outside the
    window, send.
    """
    if plan.step(facts.step) is None:
        return Decision(Act.COMPLETE)
    if facts.refusal is not None and facts.refusal not in DEFERRED:
        return Decision(Act.EXIT, reason=facts.refusal)
    until, reason = _may_send_from(facts, now)
    if until > now:
        return Decision(Act.WAIT, due_at=into_window(until, plan.window, facts.zone), reason=reason)
    if not facts.content:
        return Decision(Act.HOLD, reason="content_not_approved")
    opens = now if facts.send_now or facts.too_late else into_window(now, plan.window, facts.zone)
    if opens > now:
        return Decision(Act.WAIT, due_at=opens)
    return _send(plan, facts, now)


def _may_send_from(facts: Facts, now: datetime) -> tuple[datetime, str | None]:
    """Return when a passing refusal, the frequency cap and recent contact allow the next email, and which is the last."""
    waits = (
        (facts.refused_until, facts.refusal),
        (facts.capped_until, "frequency_cap"),
        (None if facts.send_now else facts.touched_until, "human_touch"),
    )
    return max(((until, why) for until, why in waits if until), default=(now, None), key=lambda one: one[0])


def _send(plan: Plan, facts: Facts, now: datetime) -> Decision:
    following = plan.after(facts.step)
    if following is None:
        return Decision(Act.SEND, next_step=plan.end, last=True)
    # A late step does not pull the next one closer: the wait counts from when this one was really sent.
    due_at = due_after(now, following, plan.window, facts.zone)
    return Decision(Act.SEND, due_at=due_at, next_step=following.number)


def dates(plan: Plan, *, entered: datetime, zone: ZoneInfo) -> Sequence[datetime]:
    """Return when each step would be sent to a person who enters now and is never delayed."""
    found: list[datetime] = []
    moment = entered
    for step in plan.steps:
        moment = due_after(moment, step, plan.window, zone)
        found.append(moment)
    return found
