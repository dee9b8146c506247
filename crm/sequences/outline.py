"""The outline of a draft for the page: one card per node, nested in the arms of branches, and what can be chosen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _gettext

from crm.leads.rules import label as stage_label
from crm.messages.rules import ENDING_ANSWERS, Answer
from crm.segments import queries as segments
from crm.sequences.plan_edits import FIRST, OPEN_STAGES, Name, name_of
from crm.sequences.plan_graph import every_stored, stored_emails, stored_nodes
from crm.sequences.rules import EnrolmentState
from crm.sequences.simulator import Kind, Line

ANSWERS: Mapping[str, str] = {
    Answer.CALL: "I would like a call",
    Answer.NOT_NOW: "Not now",
    Answer.GUIDE: "Send me the guide",
}
KINDS: Mapping[str, str] = {
    "email": "Email",
    "branch": "Branch",
    "split": "Split",
    "wait": "Wait",
    "wait_for": "Wait for",
    "goal": "Goal",
    "exit": "Exit",
    "end": "End",
}
Stored = Mapping[str, Any]


def say(message: str, **values: str) -> str:
    """Return a text in the language of the reader."""
    return str(_gettext(message, **values))


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of a branch or a split. `spot`: the place of its beginning."""

    spot: str
    name: str
    title: str
    cards: tuple["Card", ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One node. `place` is how people name it: "3.", or "4 yes · 1." in an arm."""

    number: int
    place: str
    kind: str
    label: str
    name: Name
    item: str | None
    wait: Mapping[str, Any] | None
    first: bool
    last: bool
    outer: bool
    after_part: bool  # what comes before it is no email
    arms: tuple[Arm, ...]


@dataclass(frozen=True, kw_only=True)
class Names:
    """What people read: email -> subject, id of a segment's rule -> name of the segment."""

    subjects: Mapping[str, str]
    segments: Mapping[int, str]


def outline(plan: Stored, names: Names) -> tuple[Card, ...]:
    """Return the cards of a stored plan."""
    items = {node["number"]: node["item"] for node in stored_emails(plan)}
    return _cards(stored_nodes(plan), "", names, items)


def _cards(nodes: Sequence[Stored], around: str, names: Names, items: Mapping[int, str]) -> tuple[Card, ...]:
    return tuple(
        _card(
            node,
            f"{around}{place}",
            names,
            items,
            first=place == 1,
            last=place == len(nodes),
            after_part=bool(around) if place == 1 else "item" not in nodes[place - 2],
        )
        for place, node in enumerate(nodes, start=1)
    )


def _card(
    node: Stored,
    place: str,
    names: Names,
    items: Mapping[int, str],
    *,
    first: bool,
    last: bool,
    after_part: bool,
) -> Card:
    arms = []
    for arm, (word, title) in _ways(node).items():
        cards = _cards(node[arm], f"{place} {word} · ", names, items)
        arms.append(Arm(spot=f"{node['number']}.{arm}", name=word, title=title, cards=cards))
    return Card(
        number=node["number"],
        place=f"{place}.",
        kind=node.get("kind", "email"),
        label=_label(node, names, items),
        name=name_of(node),
        item=node.get("item"),
        wait=node.get("wait"),
        first=first,
        last=last,
        outer="·" not in place,
        after_part=after_part,
        arms=tuple(arms),
    )


def _ways(node: Stored) -> Mapping[str, tuple[str, str]]:
    """Return arm -> its name and its heading."""
    if "yes" not in node:
        return {}
    if node["kind"] == "split":
        first = node["percent"]
        shares = {"yes": ("A", first), "no": ("B", 100 - first)}
        return {
            arm: (way, say("Way %(way)s: %(percent)s%% of people", way=way, percent=str(share)))
            for arm, (way, share) in shares.items()
        }
    words = {"yes": say("yes"), "no": say("no")}
    if node["kind"] == "wait_for":
        titles = {"yes": say("If it happens in time"), "no": say("If time runs out")}
        return {arm: (words[arm], title) for arm, title in titles.items()}
    return {arm: (word, say("If %(answer)s", answer=word)) for arm, word in words.items()}


def _label(node: Stored, names: Names, items: Mapping[int, str]) -> str:
    match node.get("kind", "email"):
        case "email":
            return names.subjects.get(node["item"], node["item"])
        case "branch":
            return _question(node["ask"], names, items)
        case "wait_for":
            return _fact(node["ask"], names, items)
        case "split":
            first = node["percent"]
            return say("%(first)s%% go way A, %(second)s%% way B", first=str(first), second=str(100 - first))
        case "wait":
            return say("Wait")
        case _:
            said: str = node["name"]
            return said


def _question(ask: Stored, names: Names, items: Mapping[int, str]) -> str:
    if "answer" not in ask:
        name = names.segments.get(ask.get("segment_rule") or 0, say("a segment"))
        return say("Are they in the segment “%(name)s”?", name=name)
    answer = say(ANSWERS[ask["answer"]])
    item = items.get(ask.get("email", FIRST), "")
    if "email" not in ask:
        return say("Did they answer “%(answer)s”?", answer=answer)
    subject = names.subjects.get(item, item)
    return say("Did they answer “%(answer)s” to “%(subject)s”?", answer=answer, subject=subject)


def _fact(ask: Stored, names: Names, items: Mapping[int, str]) -> str:
    """Return what a wait-for waits for."""
    item = items.get(ask.get("delivered", ask.get("email", FIRST)), "")
    subject = names.subjects.get(item, item)
    if "delivered" in ask:
        return say("“%(subject)s” is delivered", subject=subject)
    if "answer" not in ask:
        return fact_of_rule(ask["rule"]["field"], ask["rule"].get("values", ()))
    answer = say(ANSWERS[ask["answer"]])
    if "email" not in ask:
        return say("They answer “%(answer)s”", answer=answer)
    return say("They answer “%(answer)s” to “%(subject)s”", answer=answer, subject=subject)


def fact_of_rule(field: str, values: Sequence[str]) -> str:
    """Return how a fact reads that a rule without a segment asks about: a booking or a stage."""
    if field == "booked":
        return say("They book a consultation")
    return say("They come to the stage “%(stage)s”", stage=say(stage_label(values[0])))


def facts() -> list[tuple[str, str]]:
    """Return (value, label) of what people can wait for."""
    return [
        *(
            (f"answer:{answer}", say("They answer “%(answer)s”", answer=say(ANSWERS[answer])))
            for answer in Answer
            if answer not in ENDING_ANSWERS
        ),
        ("delivered", say("An email is delivered")),
        ("booked", fact_of_rule("booked", ())),
        *((f"stage:{stage}", fact_of_rule("stage", (stage,))) for stage in OPEN_STAGES),
    ]


def every_card(cards: Sequence[Card]) -> Iterator[Card]:
    """Yield cards and those in their arms, in order."""
    for card in cards:
        yield card
        for arm in card.arms:
            yield from every_card(arm.cards)


def spots(cards: Sequence[Card]) -> list[tuple[str, str]]:
    """Return (value, label) of the places where a node can be added."""
    return [(str(FIRST), say("At the beginning")), *_spots(cards)]


def _spots(cards: Sequence[Card]) -> Iterator[tuple[str, str]]:
    for card in cards:
        for arm in card.arms:
            said = say("First on the way “%(way)s” of %(place)s", way=arm.name, place=card.place)
            yield arm.spot, f"{said} {card.label}"
            yield from _spots(arm.cards)
        if card.kind not in ("goal", "exit", "end"):
            yield str(card.number), say("After %(place)s %(label)s", place=card.place, label=card.label)


def questions(segments: Sequence[tuple[int, str]]) -> list[tuple[str, str]]:
    """Return (value, label) of what a branch can ask. `segments`: (id of the newest rule, name)."""
    found = [
        (f"answer:{answer}", say("Did they answer “%(answer)s”?", answer=say(ANSWERS[answer])))
        for answer in Answer
        if answer not in ENDING_ANSWERS
    ]
    return found + [
        (f"segment:{rule_id}", say("Are they in the segment “%(name)s”?", name=name))
        for rule_id, name in segments
    ]


def names_of(plan: Stored, *, subjects: Mapping[str, str]) -> Names:
    """Return what people read for the emails and the segments of a plan."""
    asks = [node["ask"] for node in every_stored(stored_nodes(plan)) if "ask" in node]
    ids = [ask["segment_rule"] for ask in asks if ask.get("segment_rule") is not None]
    rules = segments.rules_of(ids) if ids else {}
    return Names(subjects=subjects, segments={rule.id: rule.segment.name for rule in rules.values()})


def end_of(line: Line) -> str:
    """Say how a rehearsal ends."""
    if line.name:
        return say("Ends: “%(name)s”", name=line.name)
    if line.kind is Kind.HELD:
        return say("Waits for an approved version in their language")
    return say("Exits the sequence") if line.state is EnrolmentState.EXITED else say("Finishes the sequence")
