"""Mail for staff: what failed or is in doubt and waits for a decision, and the switch that stops everything."""

from typing import Any

from flask import (
    Blueprint,
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

from crm import clock
from crm.audit import service as audit
from crm.messages import control, listing, service
from crm.staff import access

pages = Blueprint("mail", __name__, url_prefix="/mail")

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
    found = listing.batches(state=state, cursor=request.args.get("cursor"))
    page = render_template(
        "console/mail.html",
        undecided=listing.undecided(),
        batches=found.rows,
        today=listing.last_day(),
        control=control.get(),
        streams=listing.stopped_streams(),
        asked_state=state,
        states=listing.STATES,
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
    row = listing.get(batch_id)
    found = listing.messages(batch_id, cursor=request.args.get("cursor"))
    ids = [message.Contact.id for message in found.rows]
    audit.record("batch.view", object_type="batch", object_id=batch_id, detail={"contact_ids": ids})
    return render_template(
        "console/batch.html",
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
    picked = [int(text) for text in request.form.getlist("batch") if text.isdigit() and len(text) < 19]
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
    """Stop all sending."""
    reason = " ".join(request.form.get("reason", "").split())
    if not 0 < len(reason) <= REASON_LIMIT:
        abort(
            _index(422, errors={"reason": [f"Say in up to {REASON_LIMIT} characters why nothing may leave."]})
        )
    control.stop(by=current_user.name, reason=reason)
    flash("All sending is stopped. What is due waits.", "success")
    return redirect(url_for(".index"))


@pages.post("/release")
@access.require("stop_sending")
def release() -> ResponseReturnValue:
    """Let sending go on."""
    control.release(by=current_user.name)
    flash("Sending goes on.", "success")
    return redirect(url_for(".index"))


@pages.post("/streams/<stream>/resume")
@access.require("stop_sending")
def resume_stream(stream: str) -> ResponseReturnValue:
    """Let a stream that stopped itself go on."""
    control.resume_stream(stream)
    flash("This kind of mail goes on.", "success")
    return redirect(url_for(".index"))
