"""The Segments pages of the console: saved audiences, and the builder of their rules. It works without JavaScript.

The rule under construction travels in the form; nothing is stored before it is saved.
"""

import json
from collections.abc import Mapping
from typing import Any

from flask import Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale, gettext
from werkzeug.datastructures import ImmutableMultiDict

from crm.consent.rules import TOPICS
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid, Refusal
from crm.messages import reason_labels
from crm.segments import field_values, queries, rule_edits, rules, service, texts
from crm.segments.field_values import Choices
from crm.segments.models import SegmentRule
from crm.segments.rules import EVENTS_WITH_VALUES, FIELDS, All, AnyOf, Condition, Node, Not, RuleError, Shape
from crm.staff import access

pages = ConsolePages(
    "segments",
    __name__,
    url_prefix="/segments",
    entries=[ConsoleEntry(label="Segments", permission="run_campaigns", order=51, section="Outreach")],
)


@pages.get("")
@access.require("run_campaigns")
def index() -> ResponseReturnValue:
    """Show all segments, each with its rule as a sentence."""
    choices = field_values.all_choices(_language())
    found = [(one, _sentence(queries.rule_of(one), choices)) for one in queries.newest()]
    return render_template("console/segments/index.html", segments=found)


@pages.get("/new")
@access.require("run_campaigns")
def new() -> ResponseReturnValue:
    """Start a segment."""
    return _builder(All())


@pages.get("/<int:segment_id>")
@access.require("run_campaigns")
def show(segment_id: int) -> ResponseReturnValue:
    """Show a segment in the builder."""
    found = queries.newest_of(segment_id)
    return _builder(queries.rule_of(found), segment=found)


@pages.post("/build")
@access.require("run_campaigns")
def build() -> ResponseReturnValue:
    """Change the rule in the form by one step, or save it."""
    form = request.form
    segment = queries.newest_of(int(form["segment_id"])) if form.get("segment_id", "").isdecimal() else None
    try:
        rule = rules.parse(json.loads(form.get("rule", "")))
    except ValueError:
        flash(gettext("This rule cannot be read. Start again."), "warning")
        return redirect(url_for(".index"))
    verb, _, path = form.get("do", "count").partition(":")
    try:
        if verb == "save":
            return _save(rule, segment)
        changed = rules.parse(rules.stored(_edited(rule, verb, path)))
    except (Refusal, RuleError) as error:
        return _builder(
            rule, status=422, segment=segment, errors=_fields(error), picked=form.get("field", "")
        )
    return _builder(changed, segment=segment, picked=path if verb == "pick" else "")


def _fields(error: Refusal | RuleError) -> Mapping[str, list[str]]:
    if isinstance(error, Invalid):
        return error.fields
    return {"_": [str(error)]}


def _edited(rule: Node, verb: str, path: str) -> Node:
    form = request.form
    match verb:
        case "add":
            return rule_edits.add(rule, rule_edits.path_from(form.get("where", "")), _condition(form))
        case "group":
            return rule_edits.add(rule, rule_edits.path_from(form.get("where", "")), AnyOf())
        case "remove":
            return rule_edits.remove(rule, rule_edits.path_from(path))
        case "turn":
            return rule_edits.turn(rule, rule_edits.path_from(path))
        case "negate":
            return rule_edits.negate(rule, rule_edits.path_from(path))
        case _:
            return rule


def _condition(form: ImmutableMultiDict[str, str]) -> Node:
    """Build the condition that was filled in. Raises Invalid, RuleError."""
    name = form.get("field", "")
    shape = FIELDS.get(name)
    if shape is None:
        raise Invalid({"field": [gettext("Choose what the condition is about.")]})
    times = 1 if shape is Shape.CHOICE else _number("times", 1, rules.MOST_TIMES)
    has_days = shape is Shape.EVENT and form.get("days", "").strip()
    days = _number("days", 1, rules.LONGEST_DAYS) if has_days else None
    found = Condition(name, _values(name, shape), times, days)
    return Not(found) if form.get("negated") else found


def _values(name: str, shape: Shape) -> tuple[str, ...]:
    values = tuple(value for value in request.form.getlist("values") if value)
    if shape is Shape.EVENT:
        return values if name in EVENTS_WITH_VALUES else ()
    if not values:
        raise Invalid({"values": [gettext("Choose at least one.")]})
    return values


def _number(name: str, low: int, high: int) -> int:
    said = request.form.get(name, "").strip()
    if not said.isascii() or not said.isdigit() or len(said) > 5 or not low <= int(said) <= high:
        raise Invalid({name: [gettext("Enter a whole number from %(low)s to %(high)s.", low=low, high=high)]})
    return int(said)


def _save(rule: Node, segment: SegmentRule | None) -> ResponseReturnValue:
    base = request.form.get("base", "")
    made = service.save(
        name=request.form.get("name", ""),
        rule=rule,
        segment_id=segment.segment_id if segment else None,
        base=int(base) if base.isascii() and base.isdigit() and len(base) < 12 else None,
    )
    flash(gettext("Saved. Broadcasts that were drafted before keep the rule they had."), "success")
    return redirect(url_for(".show", segment_id=made.segment_id))


def _builder(rule: Node, *, status: int = 200, segment: SegmentRule | None = None, **more: Any) -> Response:
    form = request.form
    topic = form.get("topic", TOPICS[0])
    topic = topic if topic in TOPICS else TOPICS[0]
    choices = field_values.all_choices(_language())
    picked = more.pop("picked", "")
    counted = None if rules.is_empty(rule) else queries.count(rule, topic=topic)
    page = render_template(
        "console/segments/builder.html",
        rule=rule,
        stored=json.dumps(rules.stored(rule)),
        sentence=_sentence(rule, choices),
        phrase=lambda part: _sentence(part, choices),
        kind=_kind,
        groups=_groups(rule),
        segment=segment,
        name=form.get("name", segment.segment.name if segment else ""),
        base=form.get("base", segment.number if segment else ""),
        fields=[(name, gettext(label)) for name, label in texts.FIELD_LABELS.items()],
        picked=picked if picked in FIELDS else "",
        shape=FIELDS.get(picked),
        choices=choices.get(picked, {}),
        topic=topic,
        topics=list(choices["consent"].items()),
        empty=rules.is_empty(rule),
        counted=counted,
        names=queries.names_of(counted.sample) if counted else {},
        reasons=reason_labels.REASONS,
        typed=form,
        **more,
    )
    return make_response(page, status)


def _sentence(rule: Node, choices: Choices) -> str:
    return texts.sentence(
        rule, say=gettext, name_of=lambda name, value: choices.get(name, {}).get(value, value)
    )


def _kind(node: Node) -> tuple[str, bool, tuple[Node, ...]]:
    """Return for the template: all, any or condition; whether it is negated; the parts."""
    match node:
        case Not(part):
            kind, _, parts = _kind(part)
            return kind, True, parts
        case All(parts):
            return "all", False, parts
        case AnyOf(parts):
            return "any", False, parts
        case Condition():
            return "condition", False, ()


def _groups(rule: Node) -> list[tuple[str, str]]:
    """Return (path, name) of every group, for the choice of where to add."""
    found = [("", gettext("The whole segment"))]

    def look(node: Node, path: tuple[int, ...]) -> None:
        kind, _, parts = _kind(node)
        if path and kind != "condition":
            found.append((".".join(map(str, path)), gettext("Group %(n)s", n=len(found))))
        for place, part in enumerate(parts):
            look(part, (*path, place))

    look(rule, ())
    return found


def _language() -> str:
    return str(get_locale() or "en")[:2]
