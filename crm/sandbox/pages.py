"""The pages: an inbox that explains itself, faults to set, calls to read."""

import re
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from crm.sandbox import call_log, fault_store, inbox
from crm.sandbox.context import sandbox
from crm.sandbox.events import outbox
from crm.sandbox.events.outcomes import (
    KIND_WORDS,
    MAGIC_ADDRESSES,
    UNANSWERED,
    Outcome,
    kind_of,
    worst_outcome,
)
from crm.sandbox.faults import KINDS, STATUSES, BadFault, EventFaults, fault_from
from crm.sandbox.mail import Mail, links

pages = Blueprint("pages", __name__)
_PER_PAGE = 50
_PARTS = {"html": "HTML", "text": "Text", "headers": "Headers", "source": "Source"}
_BUTTONS = (
    *("delivered", "bounce", "blocked", "deferred", "dropped"),
    *("spamreport", "unsubscribe", "async_bounce", "duplicate"),
)
_FIELDS = {
    "times": int,
    "probability": float,
    "seed": int,
    "seconds": float,
    "status": int,
    "reset_in": float,
}
_USES = {
    "delay": ("seconds",),
    "status": ("status", "body"),
    "rate_limit": ("reset_in",),
    "refuse": ("personalization", "match"),
}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; form-action 'none'; frame-ancestors 'self'"
)


@pages.after_request
def set_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


@pages.app_template_filter("moment")
def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%-d %b %H:%M:%S UTC")


@pages.app_template_filter("iso")
def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@pages.get("/")
def show_inbox() -> str:
    query = request.args.get("q", "").strip()
    after = request.args.get("after", "")
    found = inbox.page(sandbox().store, to=query, exact=False, after=after, limit=_PER_PAGE)
    return render_template(
        "inbox.html",
        rows=list(zip(found.mails, _outcomes(found.mails), strict=True)),
        next=found.next,
        query=query,
        after=after,
        kept=inbox.count(sandbox().store),
        magic_addresses=MAGIC_ADDRESSES,
    )


@pages.get("/mails/<mail_id>")
def show_mail(mail_id: str) -> str:
    mail = _mail(mail_id)
    part = request.args.get("part", "html" if mail.html is not None else "text")
    events = outbox.events_of(sandbox().store, mail)
    return render_template(
        "mail.html",
        mail=mail,
        part=part if part in _PARTS else "html",
        parts=_PARTS,
        phone=request.args.get("width") == "phone",
        links=links(mail.html, mail.text),
        source=orjson.dumps(mail.source, option=orjson.OPT_INDENT_2).decode(),
        events=events,
        outcome=_outcome(mail, events),
        kind_of=kind_of,
        words=KIND_WORDS,
        buttons=_BUTTONS,
        fired=KIND_WORDS.get(request.args.get("fired", "")),
    )


@pages.get("/mails/<mail_id>/html")
def show_html(mail_id: str) -> Response:
    """Return the mail's own HTML, cut off from everything: no script, no remote content, links in a new tab."""
    html = _mail(mail_id).html
    if html is None:
        abort(404)
    head = re.search(r"<head\b[^>]*>", html, re.IGNORECASE)
    place = head.end() if head else 0
    marked = (
        html[:place] + '<base target="_blank">' + html[place:] if head else html + '<base target="_blank">'
    )
    return Response(marked, mimetype="text/html", headers={"Content-Security-Policy": _MAIL_POLICY})


@pages.post("/mails/<mail_id>/fire")
def fire(mail_id: str) -> AnyResponse:
    kind = request.form.get("kind", "")
    if kind not in _BUTTONS:
        abort(400, "Choose one of the events offered.")
    outbox.add_event(sandbox().store, _mail(mail_id), kind, sandbox().settings)
    sandbox().webhook_sender.wake()
    return redirect(url_for("pages.show_mail", mail_id=mail_id, fired=kind), 303)


@pages.post("/empty")
def empty() -> AnyResponse:
    inbox.clear(sandbox().store)
    return redirect(url_for("pages.show_inbox"), 303)


@pages.get("/faults")
def show_faults() -> str:
    return _faults_page()


@pages.post("/faults")
def add_fault() -> AnyResponse | tuple[str, int]:
    try:
        fault_store.add(sandbox().store, fault_from(_fault_given()))
    except BadFault as error:
        return _faults_page(trouble=str(error)), 422
    return redirect(url_for("pages.show_faults"), 303)


@pages.post("/faults/<int:position>/remove")
def remove_fault(position: int) -> AnyResponse:
    fault_store.remove(sandbox().store, position)
    return redirect(url_for("pages.show_faults"), 303)


@pages.post("/faults/events")
def set_event_faults() -> AnyResponse:
    switches = {name: name in request.form for name in EventFaults.__dataclass_fields__}
    fault_store.set_event_faults(sandbox().store, EventFaults(**switches))
    sandbox().webhook_sender.wake()
    return redirect(url_for("pages.show_faults"), 303)


@pages.get("/calls")
def show_calls() -> str:
    return render_template("calls.html", calls=call_log.latest(sandbox().store, limit=200))


@pages.get("/suppressed")
def show_suppressed() -> str:
    with sandbox().store.read() as connection:
        rows = connection.execute(
            "SELECT * FROM suppressions ORDER BY created DESC, email LIMIT 500"
        ).fetchall()
    return render_template("suppressed.html", rows=rows)


@pages.post("/suppressed/lift")
def lift() -> AnyResponse:
    with sandbox().store.write() as connection:
        connection.execute(
            "DELETE FROM suppressions WHERE email = ? AND list = ?",
            (request.form.get("email", ""), request.form.get("list", "")),
        )
    return redirect(url_for("pages.show_suppressed"), 303)


def _faults_page(trouble: str = "") -> str:
    return render_template(
        "faults.html",
        faults=fault_store.list_faults(sandbox().store),
        events=fault_store.event_faults(sandbox().store),
        waiting=inbox.count(sandbox().store)["events_waiting"],
        statuses=STATUSES,
        given=request.form,
        trouble=trouble,
    )


def _fault_given() -> dict[str, Any]:
    """Read the form: only what the chosen kind uses, empty fields left out."""
    kind = request.form.get("kind", "")
    if kind not in KINDS:
        raise BadFault("Choose what should go wrong.")
    given: dict[str, Any] = {"kind": kind}
    for name in ("times", "probability", "seed", "where", *_USES.get(kind, ())):
        text = request.form.get(name, "").strip()
        if not text:
            continue
        try:
            given[name] = _FIELDS.get(name, int if name == "personalization" else str)(text)
        except ValueError as error:
            raise BadFault(f"{name} is a number.") from error
    if "probability" in given:
        given["probability"] /= 100
    return given


def _mail(mail_id: str) -> Mail:
    found = inbox.get_mail(sandbox().store, mail_id)
    if found is None:
        abort(404, "Mail not found. It may have been deleted.")
    return found


def _outcome(mail: Mail, events: list[dict[str, Any]]) -> Outcome:
    return worst_outcome(events) if mail.answered or events else UNANSWERED


def _outcomes(mails: list[Mail]) -> list[Outcome]:
    """Return the outcome of each mail, reading the events of each request once."""
    addresses: dict[str, set[str]] = {}
    for mail in mails:
        addresses.setdefault(mail.request_id, set()).update(map(str.lower, mail.recipients))
    events = {
        request_id: outbox.events_of_request(sandbox().store, request_id, wanted)
        for request_id, wanted in addresses.items()
    }
    return [_outcome(mail, _about(mail, events[mail.request_id])) for mail in mails]


def _about(mail: Mail, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    own = {address.lower() for address in mail.recipients}
    return [event for event in events if event["email"].lower() in own]
