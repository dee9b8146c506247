"""The next version of a sequence in the console: its outline, its review, publishing."""

from collections.abc import Mapping
from typing import Any

from flask import Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.content import catalog
from crm.core import clock
from crm.core.blueprints import ConsolePages
from crm.core.db import db
from crm.core.errors import Conflict, Invalid
from crm.core.flashes import flash_with_undo
from crm.messages import queries as messages
from crm.segments import queries as segments
from crm.sequences import drafts, outline, plan_edits, plan_graph, queries, simulator
from crm.sequences.models import SequenceDraft, SequenceVersion
from crm.sequences.simulator import BuiltIn, Problem
from crm.sequences.version_change import Fate, People
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages(
    "sequence_drafts", __name__, url_prefix="/sequences/<int:sequence_id>/draft", part_of="sequences"
)

UNITS = plan_graph.UNITS
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@pages.post("")
@access.require("run_sequences")
def begin(sequence_id: int) -> ResponseReturnValue:
    """Open the draft, making it when there is none."""
    drafts.begin(sequence_id)
    return redirect(url_for(".edit", sequence_id=sequence_id))


@pages.get("")
@access.require("run_sequences")
def edit(sequence_id: int) -> ResponseReturnValue:
    """Show the outline of the draft."""
    return _outline(sequence_id)


def _outline(sequence_id: int, status: int = 200, **more: Any) -> Response:
    draft = drafts.under_way(sequence_id)
    shared = _shared(draft)
    cards = list(outline.every_card(shared["cards"]))
    there = {card.item for card in cards}
    newest = [(rule.id, rule.segment.name) for rule in segments.newest()]
    page = render_template(
        "console/sequences/draft.html",
        **shared,
        choices=[one for one in queries.addable(sequence_id) if one[0] not in there],
        window=draft.plan["window"],
        window_days=[gettext(WEEKDAYS[day]) for day in draft.plan["window"]["weekdays"]],
        after=request.values.get("after", ""),
        spots=outline.spots(shared["cards"]),
        questions=outline.questions(newest),
        facts=outline.facts(),
        emails=[(str(card.number), f"{card.place} {card.label}") for card in cards if card.item],
        endings=[(kind.value, gettext(outline.KINDS[kind])) for kind in plan_graph.EndKind],
        part=request.values.get("part", ""),
        starts=_starts(draft, newest),
        units=UNITS,
        **more,
    )
    return make_response(page, status)


def _starts(draft: SequenceDraft, newest: list[tuple[int, str]]) -> tuple[str, list[tuple[str, str]]]:
    """Return who starts, and the choices. A rule that is no longer the newest of its segment stays one of them."""
    chosen = (draft.plan.get("starts") or {}).get("segment_rule")
    known = dict(newest)
    if chosen is not None and chosen not in known:
        rule = segments.rules_of([chosen]).get(chosen)
        known[chosen] = gettext("%(name)s (earlier rule)", name=rule.segment.name if rule else chosen)
    choices = [
        (str(rule_id), gettext("Who opted in and is in “%(name)s”", name=name))
        for rule_id, name in known.items()
    ]
    return str(chosen or ""), choices


def _shared(draft: SequenceDraft) -> dict[str, Any]:
    """Return what both pages show of a draft."""
    base = db.session.get_one(SequenceVersion, draft.base_id)
    review = drafts.review(draft)
    emails = plan_graph.stored_emails(draft.plan)
    changes = plan_edits.changes(base.plan, draft.plan)
    passed = [
        item for row in review.rows for item in (*row.outcome.gains, *row.outcome.loses, row.waits_for or "")
    ]
    waiting: dict[plan_edits.Name | None, int] = {}
    for row in review.rows:
        name = row.waits_for or (row.at.number if row.at else None)
        waiting[name] = waiting.get(name, 0) + row.group.people
    items = {node["item"] for node in emails} | set(changes.removed) | set(passed)
    subjects = messages.subjects(sorted(items))
    names = outline.names_of(draft.plan, subjects=subjects)
    return {
        "sequence": queries.get(draft.sequence_id),
        "draft": draft,
        "base": base,
        "cards": outline.outline(draft.plan, names),
        "changes": changes,
        "review": review,
        "waiting": waiting,
        "subjects": subjects,
        "kinds": outline.KINDS,
        "every_card": outline.every_card,
        "item_ids": queries.item_ids(items),
        "names": catalog.display_names([draft.edited_by, draft.approved_by]),
        "undo_minutes": int(drafts.UNDO_WITHIN.total_seconds() // 60),
        "now": clock.now(),
    }


def _base() -> int:
    """Return the state of the draft that the person saw."""
    said = request.values.get("base", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 18 else 0


def _changed(sequence_id: int, text: str, *, anchor: str = "") -> ResponseReturnValue:
    """Return to the outline; the change can be undone."""
    undo = url_for(".undo", sequence_id=sequence_id, base=drafts.under_way(sequence_id).lock)
    flash_with_undo(text, undo=undo)
    return redirect(url_for(".edit", sequence_id=sequence_id) + anchor)


def _refused(sequence_id: int, error: Conflict) -> ResponseReturnValue:
    flash(error.message, "warning")
    return redirect(url_for(".edit", sequence_id=sequence_id))


@pages.post("/add")
@access.require("run_sequences")
def add(sequence_id: int) -> ResponseReturnValue:
    """Add an email."""
    form = request.form
    try:
        spot = plan_edits.spot_from(form.get("after", ""))
        drafts.add(sequence_id, base=_base(), item=form.get("item", ""), wait=_wait(), after=spot)
    except Invalid as error:
        abort(_outline(sequence_id, 422, errors=error.fields, typed=form))
    except Conflict as error:
        return _refused(sequence_id, error)
    return _changed(sequence_id, "Email added.")


def _wait() -> plan_graph.Wait:
    return plan_edits.wait_from(request.form.get("amount", ""), request.form.get("unit", ""))


PARTS_ADDED = {
    "branch": "Branch added.",
    "split": "Split added.",
    "wait": "Wait added.",
    "wait_for": "Wait added.",
    "ending": "End added.",
}


@pages.post("/add/<any(branch, split, wait, wait_for, ending):part>")
@access.require("run_sequences")
def add_part(sequence_id: int, part: str) -> ResponseReturnValue:
    """Add a branch, a split, a wait or an ending."""
    try:
        _add_part(sequence_id, part)
    except Invalid as error:
        fields = {f"{part}-{name}" if name != "_" else name: texts for name, texts in error.fields.items()}
        abort(_outline(sequence_id, 422, errors=fields, typed_part=(part, request.form)))
    except Conflict as error:
        return _refused(sequence_id, error)
    return _changed(sequence_id, PARTS_ADDED[part])


def _add_part(sequence_id: int, part: str) -> None:
    form = request.form
    given: dict[str, Any] = {"base": _base(), "after": plan_edits.spot_from(form.get("after", ""))}
    if part == "ending":
        drafts.add_ending(sequence_id, kind=form.get("kind", ""), name=form.get("name", ""), **given)
    elif part == "wait":
        drafts.add_pause(sequence_id, wait=_wait(), **given)
    elif part == "split":
        drafts.add_split(sequence_id, percent=form.get("percent", "").strip(), wait=_wait(), **given)
    else:
        said, about = form.get("question", ""), form.get("about", "")
        given |= {"about": int(about) if about.isdecimal() and len(about) < 9 else None, "wait": _wait()}
        if part == "wait_for":
            drafts.add_wait_for(sequence_id, fact=said, **given)
        else:
            drafts.add_branch(sequence_id, question=said, **given)


@pages.post("/start")
@access.require("run_sequences")
def start_with(sequence_id: int) -> ResponseReturnValue:
    """Choose who starts the sequence."""
    said = request.form.get("starts", "")
    rule_id = int(said) if said.isascii() and said.isdecimal() and len(said) < 12 else None
    try:
        drafts.start_with(sequence_id, base=_base(), rule_id=rule_id)
    except Invalid:
        flash("Choose a segment from the list.", "warning")
        return redirect(url_for(".edit", sequence_id=sequence_id))
    except Conflict as error:
        return _refused(sequence_id, error)
    return _changed(sequence_id, "Saved who starts.")


@pages.post("/steps/<int:number>/<any(up, down):way>")
@access.require("run_sequences")
def move(sequence_id: int, number: int, way: str) -> ResponseReturnValue:
    """Move a part."""
    try:
        drafts.move(sequence_id, base=_base(), number=number, by=-1 if way == "up" else 1)
    except Conflict as error:
        return _refused(sequence_id, error)
    return _changed(sequence_id, "Moved.", anchor=f"#step-{number}")


@pages.post("/steps/<int:number>/wait")
@access.require("run_sequences")
def retime(sequence_id: int, number: int) -> ResponseReturnValue:
    """Change a wait."""
    try:
        drafts.retime(sequence_id, base=_base(), number=number, wait=_wait())
    except Invalid as error:
        fields = {f"{name}-{number}": texts for name, texts in error.fields.items()}
        abort(_outline(sequence_id, 422, errors=fields, typed_wait={number: request.form}))
    except Conflict as error:
        return _refused(sequence_id, error)
    return _changed(sequence_id, "Wait changed.", anchor=f"#step-{number}")


@pages.post("/steps/<int:number>/remove")
@access.require("run_sequences")
def remove(sequence_id: int, number: int) -> ResponseReturnValue:
    """Remove a part."""
    try:
        drafts.remove(sequence_id, base=_base(), number=number)
    except Conflict as error:
        return _refused(sequence_id, error)
    return _changed(sequence_id, "Removed.")


@pages.post("/undo")
@access.require("run_sequences")
def undo(sequence_id: int) -> ResponseReturnValue:
    """Undo the last edit."""
    try:
        drafts.undo_edit(sequence_id, base=_base())
    except Conflict as error:
        return _refused(sequence_id, error)
    flash("Undone.", "success")
    return redirect(url_for(".edit", sequence_id=sequence_id))


@pages.post("/discard")
@access.require("run_sequences")
def discard(sequence_id: int) -> ResponseReturnValue:
    """Discard the draft."""
    try:
        drafts.discard(sequence_id, base=_base())
    except Conflict as error:
        return _refused(sequence_id, error)
    flash("Draft discarded. The published version stays.", "success")
    return redirect(url_for("console.sequences.show", sequence_id=sequence_id))


@pages.get("/review")
@access.require("run_sequences")
def review(sequence_id: int) -> ResponseReturnValue:
    """Show what publishing changes, and for whom."""
    draft = drafts.under_way(sequence_id)
    return render_template(
        "console/sequences/review.html",
        **_shared(draft),
        fates=Fate,
        rehearsals=_rehearsals(draft),
        may_publish=drafts.is_second_person(draft),
    )


PERSONAS: Mapping[BuiltIn, str] = {
    BuiltIn.READS: "Reads and does nothing",
    BuiltIn.SPANISH: "Reads Spanish",
    BuiltIn.NOT_NOW: "Answers “Not now” to every email",
    BuiltIn.CALL: "Asks for a call",
    BuiltIn.GUIDE: "Asks for the guide",
    BuiltIn.MEMBER: "Is in every segment that is asked about",
    BuiltIn.BOOKS: "Books a consultation on the tenth day",
    BuiltIn.DRAWN: "Goes way A of every split",
}
FAULTS: Mapping[Problem, str] = {
    Problem.NO_END: "does not end",
    Problem.TWICE: "gets an email twice",
    Problem.OUT_OF_HOURS: "gets an email outside the send window",
    Problem.AFTER_END: "gets emails after the end",
    Problem.TOO_MANY: "gets more emails than the limit",
}


def _rehearsals(draft: SequenceDraft) -> list[dict[str, Any]]:
    """Return a line of the review for each built-in persona."""
    if not plan_graph.stored_emails(draft.plan):
        return []
    return [
        {
            "who": gettext(PERSONAS[name]),
            "emails": len(simulator.sent(lines)),
            "end": outline.end_of(lines[-1]),
            "at": lines[-1].at,
            "faults": [gettext(FAULTS[fault]) for fault in sorted(faults)],
        }
        for name, (_, lines, faults) in drafts.rehearsals(draft).items()
    ]


@pages.post("/people")
@access.require("run_sequences")
def decide_people(sequence_id: int) -> ResponseReturnValue:
    """Decide what happens to the people in the sequence."""
    try:
        people = People(request.form.get("people", ""))
        drafts.decide_people(sequence_id, base=_base(), people=people)
    except ValueError:
        flash("Choose what happens to the people in the sequence.", "warning")
    except Conflict as error:
        flash(error.message, "warning")
    return redirect(url_for(".review", sequence_id=sequence_id))


@pages.post("/publish")
@access.require("run_sequences")
@staff_session.own
def publish(sequence_id: int) -> ResponseReturnValue:
    """Approve the draft as a second person."""
    try:
        drafts.approve(sequence_id, base=_base())
    except Conflict as error:
        flash(error.message, "warning")
        return redirect(url_for(".review", sequence_id=sequence_id))
    return redirect(url_for(".review", sequence_id=sequence_id))


@pages.post("/undo-publishing")
@access.require("run_sequences")
def undo_publishing(sequence_id: int) -> ResponseReturnValue:
    """Undo the approval before it takes effect."""
    try:
        drafts.undo_approval(sequence_id, base=_base())
    except Conflict as error:
        return _refused(sequence_id, error)
    flash("Publishing undone. Nothing was changed for anyone.", "success")
    return redirect(url_for(".review", sequence_id=sequence_id))
