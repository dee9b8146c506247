"""The Sequences pages of the console: steps and people, pausing, sending one person's next email."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.audit import service as audit
from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.flashes import flash_with_undo
from crm.messages import queries as messages
from crm.messages import reason_labels
from crm.sequences import drafts, outline, plan_graph, queries, service
from crm.sequences.models import Enrolment
from crm.sequences.splits import queries as splits
from crm.staff import access

pages = ConsolePages(
    "sequences",
    __name__,
    url_prefix="/sequences",
    entries=[ConsoleEntry(label="Sequences", permission="see_sequences", order=30, section="Outreach")],
)

LABELS = {"state": "Status", "step": "Waiting for email"}


@pages.get("")
@access.require("see_sequences")
def index() -> ResponseReturnValue:
    """Show all sequences with their numbers of people."""
    return render_template("console/sequences/index.html", sequences=queries.every())


@pages.get("/<int:sequence_id>")
@access.require("see_sequences")
def show(sequence_id: int) -> ResponseReturnValue:
    """Show one sequence: its steps with numbers, and its people."""
    sequence = queries.get(sequence_id)
    asked = {name: request.args.get(name, "").strip() for name in LABELS}
    step = _step_number(asked["step"])
    people = queries.people(sequence_id, state=asked["state"], step=step, cursor=request.args.get("cursor"))
    cards = _parts(sequence_id)
    ids = [row.Contact.id for row in people.rows]
    audit.record("sequence.view", object_type="sequence", object_id=sequence_id, detail={"contact_ids": ids})
    return render_template(
        "console/sequences/show.html",
        sequence=sequence,
        steps=queries.steps(sequence_id),
        people=people.rows,
        asked=asked,
        states=queries.STATES,
        tags=_active_filters(sequence_id, asked),
        older=_address(sequence_id, asked | {"cursor": people.next}) if people.next else None,
        newest=_address(sequence_id, asked) if request.args.get("cursor") else None,
        reason=reason_labels.reason,
        draft=drafts.current(sequence_id),
        next_email=_next_of(sequence_id, cards),
        cards=cards,
        parts=queries.parts(sequence_id) if cards else None,
        kinds=outline.KINDS,
        splits=splits.comparisons(sequence_id, [card.number for card in cards if card.kind == "split"]),
        splits_of=splits.RESULTS_OF.days,
        now=clock.now(),
    )


def _step_number(typed: str) -> int | None:
    return int(typed) - 1 if typed.isdecimal() and len(typed) < 5 else None


def _active_filters(sequence_id: int, asked: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"label": label, "value": asked[name], "href": _address(sequence_id, asked | {name: ""})}
        for name, label in LABELS.items()
        if asked[name]
    ]


def _next_of(sequence_id: int, cards: Sequence[outline.Card]) -> Callable[[Enrolment], str | None]:
    """Return a function that names what an enrolment waits for."""
    emails = queries.emails_by_step(sequence_id)
    parts = {card.number: f"{gettext(outline.KINDS[card.kind])}: {card.label}" for card in cards}
    return lambda enrolment: emails.get((enrolment.version_id, enrolment.step)) or parts.get(enrolment.step)


def _parts(sequence_id: int) -> list[outline.Card]:
    """Return the branches, waits and ends of the newest version."""
    version = queries.newest_version(sequence_id)
    if version is None or not plan_graph.plan_from(version.plan).branches:
        return []
    items = [node["item"] for node in plan_graph.stored_emails(version.plan)]
    names = outline.names_of(version.plan, subjects=messages.subjects(sorted(items)))
    cards = outline.every_card(outline.outline(version.plan, names))
    return [card for card in cards if card.item is None]


def _address(sequence_id: int, asked: dict[str, Any]) -> str:
    return url_for(
        ".show", sequence_id=sequence_id, **{name: value for name, value in asked.items() if value}
    )


@pages.post("/<int:sequence_id>/pause")
@access.require("run_sequences")
def pause(sequence_id: int) -> ResponseReturnValue:
    """Pause a sequence and everyone in it."""
    people = service.pause(sequence_id)
    undo = url_for(".resume", sequence_id=sequence_id)
    flash_with_undo(f"Paused. {_people(people)} keep their remaining wait.", undo=undo)
    return redirect(url_for(".show", sequence_id=sequence_id))


@pages.post("/<int:sequence_id>/resume")
@access.require("run_sequences")
def resume(sequence_id: int) -> ResponseReturnValue:
    """Resume a sequence; everyone keeps their remaining wait."""
    flash(f"Resumed. {_people(service.resume(sequence_id))} keep their remaining wait.", "success")
    return redirect(url_for(".show", sequence_id=sequence_id))


def _people(number: int) -> str:
    return f"{number:,} people" if number != 1 else "1 person"


@pages.post("/<int:sequence_id>/go-live")
@access.require("run_sequences")
def go_live(sequence_id: int) -> ResponseReturnValue:
    """Make a draft live."""
    service.go_live(sequence_id)
    flash("This sequence is live. People who opt in from now on start it.", "success")
    return redirect(url_for(".show", sequence_id=sequence_id))


@pages.post("/enrolments/<int:enrolment_id>/send-next")
@access.require("run_sequences")
def send_next(enrolment_id: int) -> ResponseReturnValue:
    """Send one person's next email now."""
    sequence_id = queries.sequence_of(enrolment_id)
    service.send_next_now(enrolment_id)
    flash("The next email will be sent within seconds, if this person may be emailed.", "success")
    return redirect(url_for(".show", sequence_id=sequence_id))


@pages.post("/enrolments/<int:enrolment_id>/take-out")
@access.require("run_sequences")
def remove(enrolment_id: int) -> ResponseReturnValue:
    """Remove one person."""
    sequence_id = queries.sequence_of(enrolment_id)
    service.remove(enrolment_id)
    flash("Removed from the sequence. Queued emails to this person will not be sent.", "success")
    return redirect(url_for(".show", sequence_id=sequence_id))
