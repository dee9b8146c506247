"""The Mail pages of the console: batches that need a decision, all batches, pacing limits, and the kill switch."""

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
from crm.messages import queries, reason_labels, rules, service
from crm.messages.limits import circuit_breakers, pacing, switches
from crm.staff import access, alerts

pages = ConsolePages(
    "mail",
    __name__,
    url_prefix="/mail",
    entries=[ConsoleEntry(label="Mail", permission="see_mail", order=60)],
)

ERRORS = {
    "blocked_policy": "No transport may carry mail to patients: none is under a business associate agreement.",
    "too_late": "It expired before it could be sent.",
}
STREAMS = {
    "transactional": "Transactional",
    "transactional_phi": "Transactional, to patients and referred people",
    "prospect_edu": "Educational emails",
    "referred_edu": "Educational emails after a referral",
    "provider_nurture": "Updates for referring clinicians",
}
REASON_LIMIT = 200  # characters


@pages.get("")
@access.require("see_mail")
def index() -> ResponseReturnValue:
    """Show batches that need a decision, then all batches, newest first."""
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
        copied=alerts.open_text(switches.COPIED),
        streams=queries.stopped_streams(),
        unclear=queries.unclear_events(),
        unclear_words=reason_labels.UNCLEAR,
        set_aside=queries.posts_set_aside(),
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
    """Show one batch: its content, its status, and each recipient."""
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
        reason=reason_labels.reason,
        streams=STREAMS,
        older=url_for(".show", batch_id=batch_id, cursor=found.next) if found.next else None,
    )


@pages.post("/decide")
@access.require("decide_mail")
def decide() -> ResponseReturnValue:
    """Settle the selected batches."""
    picked = [int(text) for text in request.form.getlist("batch") if text.isdecimal() and len(text) < 19]
    if not picked:
        abort(_index(422, errors={"batch": ["Select at least one row."]}))
    again = request.form.get("decision") == "again"
    number = service.decide(picked, send_again=again)
    what = "will be sent again" if again else "are treated as sent"
    flash(f"{number:,} {'email batch' if number == 1 else 'email batches'} {what}.", "success")
    return redirect(url_for(".index"))


@pages.post("/stop")
@access.require("stop_sending")
def stop() -> ResponseReturnValue:
    """Stop all sending at once, with an optional reason and without a question."""
    reason = " ".join(request.form.get("reason", "").split())
    if len(reason) > REASON_LIMIT:
        abort(_index(422, errors={"reason": [f"Use up to {REASON_LIMIT} characters."]}))
    switches.stop(by=current_user.name, reason=reason or "Stopped in the console.")
    said = {
        "text": "All sending is stopped. Due emails wait and are not lost.",
        "undo": url_for(".release"),
    }
    flash(said, "success")  # type: ignore[arg-type]
    return redirect(url_for(".index"))


@pages.post("/release")
@access.require("stop_sending")
def release() -> ResponseReturnValue:
    """Resume sending."""
    switches.release(by=current_user.name)
    flash("Sending resumed.", "success")
    return redirect(url_for(".index"))


@pages.post("/streams/<stream>/resume")
@access.require("stop_sending")
def resume_stream(stream: str) -> ResponseReturnValue:
    """Resume a stream that was stopped automatically."""
    switches.resume_stream(stream)
    flash("Resumed.", "success")
    return redirect(url_for(".index"))


@pages.get("/pace")
@access.require("see_mail")
def pace() -> ResponseReturnValue:
    """Show the sending limits, their usage, and how close each type of mail is to its automatic stop."""
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
    """Set the limits, from the next batch on."""
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
    flash("Saved. Applies from the next batch.", "success")
    return redirect(url_for(".pace"))


def _number(text: str) -> int | None:
    """Return a typed whole number; 0, which is refused, for other text."""
    plain = re.sub(r"[\s,.]", "", text)
    if not plain:
        return None
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 12 else 0


def _day(text: str) -> datetime | None:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC) if text else None
    except ValueError as error:
        raise Invalid({"ramp_from": ["Enter a date such as 2026-03-01."]}) from error


def _domains(text: str) -> dict[str, int]:
    """Read lines of "gmail.com 500"; any other line becomes a cap of 0, which is refused."""
    found = {}
    for line in text.splitlines():
        domain, _, cap = " ".join(line.replace(":", " ").split()).rpartition(" ")
        if line.strip():
            found[(domain or line).strip().lower().removeprefix("@")] = _number(cap) or 0
    return found
