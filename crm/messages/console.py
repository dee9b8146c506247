"""Mail for staff: what failed or is in doubt and waits for a decision, and the switch that stops everything."""

import re
from datetime import UTC, date, datetime, time
from typing import Any

from flask import (
    Response,
    abort,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_security import current_user

from crm.audit import service as audit
from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.messages import queries, rules, service
from crm.messages.limits import circuit_breakers, pacing, switches
from crm.staff import access

pages = ConsolePages(
    "mail",
    __name__,
    url_prefix="/mail",
    entries=[ConsoleEntry(label="Mail", permission="see_mail", order=60)],
)

ERRORS = {
    "blocked_policy": "No transport may carry mail to patients: none is under a business associate agreement.",
    "too_late": "It had waited for so long that sending it would have done more harm than good.",
}
STREAMS = {
    "transactional": "Personal: asked for by the person",
    "transactional_phi": "Personal, to patients and those referred",
    "prospect_edu": "Educational emails",
    "referred_edu": "Educational emails after a referral",
    "provider_nurture": "Updates for referring clinicians",
}
REASON_LIMIT = 200  # characters


@pages.get("")
@access.require("see_mail")
def index() -> ResponseReturnValue:
    """What waits for a decision comes first; then everything, newest first."""
    return _index()


def _index(status: int = 200, **more: Any) -> Response:
    state = request.args.get("state", "")
    found = queries.batches(state=state, cursor=request.args.get("cursor"))
    page = render_template(
        "console/messages/index.html",
        undecided=queries.undecided(),
        batches=found.rows,
        today=queries.last_day(),
        control=switches.get(),
        streams=queries.stopped_streams(),
        asked_state=state,
        states=queries.STATES,
        words=ERRORS,
        stream_words=STREAMS,
        older=url_for(".index", state=state or None, cursor=found.next) if found.next else None,
        newest=url_for(".index", state=state or None) if request.args.get("cursor") else None,
        now=clock.now(),
        **more,
    )
    return make_response(page, status)


@pages.get("/<int:batch_id>")
@access.require("see_mail")
def show(batch_id: int) -> ResponseReturnValue:
    """One batch: its content, its fate, and each person's email in it."""
    row = queries.get(batch_id)
    found = queries.messages(batch_id, cursor=request.args.get("cursor"))
    ids = [message.Contact.id for message in found.rows]
    audit.record("batch.view", object_type="batch", object_id=batch_id, detail={"contact_ids": ids})
    return render_template(
        "console/messages/batch.html",
        batch=row.Batch,
        subject=row.subject,
        title=row.title,
        messages=found.rows,
        words=ERRORS,
        streams=STREAMS,
        older=url_for(".show", batch_id=batch_id, cursor=found.next) if found.next else None,
    )


@pages.post("/decide")
@access.require("decide_mail")
def decide() -> ResponseReturnValue:
    """Settle the batches that were picked."""
    picked = [int(text) for text in request.form.getlist("batch") if text.isdecimal() and len(text) < 19]
    if not picked:
        abort(_index(422, errors={"batch": ["Pick at least one row."]}))
    again = request.form.get("decision") == "again"
    number = service.decide(picked, send_again=again)
    what = "leave again" if again else "count as sent"
    flash(f"{number:,} {'batch' if number == 1 else 'batches'} {what}.", "success")
    return redirect(url_for(".index"))


@pages.post("/stop")
@access.require("stop_sending")
def stop() -> ResponseReturnValue:
    """Stop all sending, at once; a reason may be given, and nothing is asked."""
    reason = " ".join(request.form.get("reason", "").split())
    if len(reason) > REASON_LIMIT:
        abort(_index(422, errors={"reason": [f"Say it in up to {REASON_LIMIT} characters."]}))
    switches.stop(by=current_user.name, reason=reason or "Stopped in the console.")
    said = {
        "text": "All sending is stopped. What is due waits and is not lost.",
        "undo": url_for(".release"),
    }
    flash(said, "success")  # type: ignore[arg-type]
    return redirect(url_for(".index"))


@pages.post("/release")
@access.require("stop_sending")
def release() -> ResponseReturnValue:
    """Let sending go on."""
    switches.release(by=current_user.name)
    flash("Sending goes on.", "success")
    return redirect(url_for(".index"))


@pages.post("/streams/<stream>/resume")
@access.require("stop_sending")
def resume_stream(stream: str) -> ResponseReturnValue:
    """Let a stream that stopped itself go on."""
    switches.resume_stream(stream)
    flash("This kind of mail goes on.", "success")
    return redirect(url_for(".index"))


@pages.get("/pace")
@access.require("see_mail")
def pace() -> ResponseReturnValue:
    """How fast mail may leave, how much of that is used, and how near each kind of mail is to stopping itself."""
    return _pace()


def _pace(status: int = 200, **more: Any) -> Response:
    now, row = clock.now(), switches.get()
    caps = pacing.caps(row, now=now)
    page = render_template(
        "console/messages/pace.html",
        control=row,
        caps=caps,
        used=pacing.usage(now=now),
        ramp=rules.ramp(started=row.ramp_from, now=now) if row.ramp_from else None,
        today=now.date(),
        rates=circuit_breakers.stream_rates(),
        limits={
            "bounces": rules.BOUNCE_LIMIT,
            "complaints": rules.COMPLAINT_LIMIT,
            "least": rules.BREAKER_MIN,
        },
        stream_words=STREAMS,
        **more,
    )
    return make_response(page, status)


@pages.post("/pace")
@access.require("stop_sending")
def set_pace() -> ResponseReturnValue:
    """Set the caps, from the next batch on."""
    typed = request.form
    try:
        switches.set_pace(
            per_minute=_number(typed.get("per_minute", "")),
            per_day=_number(typed.get("per_day", "")),
            ramp_from=_day(typed.get("ramp_from", "")),
            domains=_domains(typed.get("domains", "")),
        )
    except Invalid as error:
        abort(_pace(422, errors=error.fields, typed=typed))
    flash("Saved. It counts from the next batch on.", "success")
    return redirect(url_for(".pace"))


def _number(text: str) -> int | None:
    """A whole number as people type it; 0, which is refused, for what is none."""
    plain = re.sub(r"[\s,.]", "", text)
    if not plain:
        return None
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 12 else 0


def _day(text: str) -> datetime | None:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC) if text else None
    except ValueError as error:
        raise Invalid({"ramp_from": ["Give the first day, such as 2026-03-01."]}) from error


def _domains(text: str) -> dict[str, int]:
    """Lines of "gmail.com 500"; what is no such line becomes a cap of 0, which is refused."""
    found = {}
    for line in text.splitlines():
        domain, _, cap = " ".join(line.replace(":", " ").split()).rpartition(" ")
        if line.strip():
            found[(domain or line).strip().lower().removeprefix("@")] = _number(cap) or 0
    return found
