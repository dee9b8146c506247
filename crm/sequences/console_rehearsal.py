"""Rehearsal of a draft in the console: an imagined person, every date with its reason. Nothing is stored or sent."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import format_datetime, gettext
from werkzeug.datastructures import MultiDict

from crm.content import service as content
from crm.core import clock, current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid
from crm.core.time_zones import zone_info
from crm.desk.people.contact_page import ZONES
from crm.messages import queries as messages
from crm.messages import reason_labels
from crm.messages.rules import Answer
from crm.segments import queries as segments
from crm.segments.rules import Condition
from crm.sequences import drafts, outline, plan_graph, queries, simulator
from crm.sequences.plan_graph import InSegment, Plan, Question
from crm.sequences.simulator import Kind, Line, Persona, Says
from crm.staff import access

pages = ConsolePages(
    "sequence_rehearsal", __name__, url_prefix="/sequences/<int:sequence_id>/draft", part_of="sequences"
)

MOST_SAID = 3
LANGUAGES = (("en", "English"), ("es", "Spanish"))


@pages.get("/rehearse")
@access.require("run_sequences")
def rehearse(sequence_id: int) -> ResponseReturnValue:
    """Show what a draft does with the person in the form."""
    draft = drafts.under_way(sequence_id)
    plan = plan_graph.plan_from(draft.plan)
    errors: dict[str, list[str]] = {}
    try:
        persona = _persona(request.args, plan)
    except Invalid as error:
        errors, persona = error.fields, _persona(MultiDict(), plan)
    items = [step.item for step in plan.steps]
    names = outline.names_of(draft.plan, subjects=messages.subjects(sorted(items)))
    cards = {card.number: card for card in outline.every_card(outline.outline(draft.plan, names))}
    approved = content.newest_approved(items, now=clock.now())
    page = render_template(
        "console/sequences/rehearsal.html",
        sequence=queries.get(sequence_id),
        errors=errors,
        given=request.args,
        persona=persona,
        lines=_rows(simulator.simulate(plan, persona, content=approved.keys()), cards, persona),
        entered=persona.entered.strftime("%Y-%m-%dT%H:%M"),
        **_choices(plan, cards),
    )
    return page, 422 if errors else 200


def _rows(
    lines: Sequence[Line], cards: Mapping[int, outline.Card], persona: Persona
) -> list[tuple[Line, str, str, str]]:
    return [
        (line, _moment(line.at, persona), _sentence(line, cards), _reason(line, persona)) for line in lines
    ]


def _choices(plan: Plan, cards: Mapping[int, outline.Card]) -> dict[str, Any]:
    """Return what the form offers."""
    return {
        "emails": [(str(card.number), f"{card.place} {card.label}") for card in cards.values() if card.item],
        "answers": [(answer.value, gettext(outline.ANSWERS[answer])) for answer in Answer],
        "memberships": [(place, _about(question)) for place, question in enumerate(_questions(plan))],
        "splits": [
            (card.number, f"{card.place} {card.label}") for card in cards.values() if card.kind == "split"
        ],
        "zones": [(name, gettext(label)) for name, label in ZONES.items()],
        "languages": [(code, gettext(name)) for code, name in LANGUAGES],
        "rows": range(MOST_SAID),
    }


def _questions(plan: Plan) -> list[Question]:
    """Return what the branches ask about segments, each once."""
    asked = [one.question for one in plan.branches if isinstance(one.question, InSegment)]
    return list(dict.fromkeys(asked))


def _about(question: Question) -> str:
    condition = question.rule if isinstance(question, InSegment) else None
    rule_id = question.rule_id if isinstance(question, InSegment) else None
    if rule_id is None and isinstance(condition, Condition) and condition.field in ("booked", "stage"):
        return outline.fact_of_rule(condition.field, condition.values)
    rule = segments.rules_of([rule_id]).get(rule_id) if rule_id else None
    return rule.segment.name if rule else gettext("a segment")


def _persona(given: MultiDict[str, str], plan: Plan) -> Persona:
    """Build the person of the form. Raises Invalid."""
    name = given.get("zone", "")
    zone = zone_info(name if name in ZONES else current.settings().clinic.zone.key)
    entered = _entered(given.get("entered", ""), zone_now=clock.now().astimezone(zone))
    inside = {
        question: (entered, None)
        for place, question in enumerate(_questions(plan))
        if str(place) in given.getlist("inside")
    }
    books = _number(given, "books", most=3650)
    return Persona(
        zone=zone,
        language="es" if given.get("language") == "es" else "en",
        entered=entered,
        says=tuple(_says(given)),
        inside=inside,
        leaves=(entered + timedelta(days=books), "booked") if books is not None else None,
        drawn=frozenset(one.number for one in plan.branches if str(one.number) in given.getlist("drawn")),
    )


def _entered(said: str, *, zone_now: datetime) -> datetime:
    if not said:
        return zone_now.replace(second=0, microsecond=0)
    try:
        there = datetime.fromisoformat(said)
    except ValueError as error:
        raise Invalid({"entered": [gettext("Enter a day and a time.")]}) from error
    if not 2000 < there.year < 2100:
        raise Invalid({"entered": [gettext("Enter a day and a time.")]})
    return there.replace(tzinfo=zone_now.tzinfo)


def _says(given: MultiDict[str, str]) -> list[Says]:
    found = []
    for row in range(MOST_SAID):
        email, answer = given.get(f"email{row}", ""), given.get(f"answer{row}", "")
        hours = _number(given, f"hours{row}", most=2000)
        if email.isdecimal() and len(email) < 9 and answer in set(Answer):
            after = timedelta(hours=1 if hours is None else hours)
            found.append(Says(email=int(email), answer=Answer(answer), after=after))
    return list(dict.fromkeys(found))


def _number(given: MultiDict[str, str], name: str, *, most: int) -> int | None:
    said = given.get(name, "").strip()
    if not said:
        return None
    if not said.isascii() or not said.isdigit() or len(said) > 5 or int(said) > most:
        raise Invalid({name: [gettext("Enter a whole number from %(low)s to %(high)s.", low=0, high=most)]})
    return int(said)


def _moment(at: datetime, persona: Persona) -> str:
    return str(format_datetime(at.astimezone(persona.zone), "EEE, d MMM y, h:mm a", rebase=False))


SENTENCES: Mapping[Kind, str] = {
    Kind.ENTERED: "Starts the sequence",
    Kind.SENT: "Gets “%(about)s”",
    Kind.ASKED: "%(about)s Way: %(way)s",
    Kind.WAITS: "Waits for this: %(about)s",
    Kind.DELAYED: "Waits before “%(about)s”",
    Kind.SAID: "Presses “%(answer)s” in “%(about)s”",
    Kind.HELD: "Waits before “%(about)s” until it is approved in their language",
}


def _sentence(line: Line, cards: Mapping[int, outline.Card]) -> str:
    """Say what happens."""
    if line.kind is Kind.ENDED:
        return outline.end_of(line)
    card = cards.get(-1 if line.node is None else line.node)
    if card is not None and line.kind is Kind.ASKED and card.kind != "branch":
        return _way_sentence(card, yes=line.yes)
    return outline.say(
        SENTENCES[line.kind],
        about=card.label if card else "",
        way=outline.say("yes") if line.yes else outline.say("no"),
        answer=outline.say(outline.ANSWERS[line.answer]) if line.answer else "",
    )


def _way_sentence(card: outline.Card, *, yes: bool) -> str:
    """Say which way a person takes at a split or a wait-for."""
    if card.kind == "split":
        way = card.arms[0 if yes else 1]
        return outline.say("Would go way %(way)s (%(about)s)", way=way.name, about=card.label)
    happened = "It happened: %(about)s" if yes else "Time ran out: %(about)s"
    return outline.say(happened, about=card.label)


def _reason(line: Line, persona: Persona) -> str:
    """Say why it happens then."""
    if line.until is not None:
        until = _moment(line.until, persona)
        if line.kind is Kind.WAITS:
            return outline.say("at most until %(time)s", time=until)
        if line.reason:
            why = gettext(reason_labels.REASONS.get(line.reason, line.reason))
            return outline.say("%(why)s; until %(time)s", why=why, time=until)
        return outline.say("outside the send window; until %(time)s", time=until)
    if line.planned is not None and line.planned < line.at:
        planned = _moment(line.planned, persona)
        return outline.say(
            "wait over on %(time)s; moved to the next time at which emails may be sent", time=planned
        )
    if line.reason:
        return outline.say(reason_labels.REASONS.get(line.reason, line.reason))
    return outline.say("right after its wait") if line.planned == line.at else ""
