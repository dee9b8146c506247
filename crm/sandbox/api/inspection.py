"""The sandbox's own API for tests and tools, under `/sandbox`. SendGrid has no such API."""

from collections.abc import Iterator
from typing import Any

import orjson
from flask import Blueprint, Response, abort, request

from crm.sandbox import call_log, fault_store, inbox
from crm.sandbox.api.responses import as_json
from crm.sandbox.context import sandbox
from crm.sandbox.events import outbox
from crm.sandbox.events.magic_addresses import KINDS
from crm.sandbox.faults import BadFault, EventFaults, parse
from crm.sandbox.mail import Mail, links

tools = Blueprint("tools", __name__, url_prefix="/sandbox")


@tools.get("/messages")
def messages() -> Response:
    """List mails: `to` one address, `limit` (50, at most 1000), `after` a cursor, `order` `newest` or `oldest`."""
    found = inbox.page(
        sandbox().store,
        to=request.args.get("to", ""),
        after=request.args.get("after", ""),
        limit=min(max(request.args.get("limit", 50, int), 1), 1000),
        oldest_first=request.args.get("order") == "oldest",
    )
    return as_json({"messages": [_described(mail) for mail in found.mails], "next": found.next})


@tools.get("/messages/<mail_id>")
def message(mail_id: str) -> Response:
    return as_json(_described(_mail(mail_id)))


@tools.post("/messages/<mail_id>/events")
def fire(mail_id: str) -> Response:
    """Make an event for this mail now: `{"event": kind}`; see `crm.sandbox.events.magic_addresses.KINDS`, and `duplicate`."""
    body = _json()
    kind = body.get("event") if isinstance(body, dict) else None
    if kind not in (*KINDS, "duplicate"):
        return as_json({"error": f"event is one of {', '.join(KINDS)}, duplicate."}, 422)
    made = outbox.add_event(sandbox().store, _mail(mail_id), kind, sandbox().settings)
    sandbox().webhook_sender.wake()
    return as_json({"events": made}, 201)


@tools.delete("/messages")
def forget() -> Response:
    inbox.clear(sandbox().store)
    return Response(status=204)


@tools.get("/requests/<request_id>")
def raw_request(request_id: str) -> Response:
    """Return the body of a request exactly as it came in."""
    body = inbox.request_body(sandbox().store, request_id)
    if body is None:
        abort(404)
    return Response(body, mimetype="application/json")


@tools.get("/recipients")
def recipients() -> Response:
    """Stream one JSON array a line, [custom arg value, address, request id], oldest first; `arg` names the arg."""
    found = inbox.recipients(sandbox().store, argument=request.args.get("arg"))
    return Response(_lines(found), mimetype="application/x-ndjson")


@tools.get("/status")
def status() -> Response:
    return as_json(inbox.count(sandbox().store))


@tools.get("/calls")
def calls() -> Response:
    """List the latest calls, newest first: `way` `in` (to us) or `out` (events to the webhook), `limit`."""
    limit = min(max(request.args.get("limit", 100, int), 1), 20_000)
    return as_json({"calls": call_log.latest(sandbox().store, limit=limit, way=request.args.get("way"))})


@tools.get("/faults")
def faults() -> Response:
    store = sandbox().store
    return as_json({"faults": fault_store.list_faults(store), "events": fault_store.event_faults(store)})


@tools.put("/faults")
def set_faults() -> Response:
    """Set exactly these faults; `{}` takes all of them away."""
    try:
        found, events = parse(_json())
    except BadFault as error:
        return as_json({"error": str(error)}, 422)
    fault_store.replace(sandbox().store, found, events)
    sandbox().webhook_sender.wake()
    return faults()


@tools.delete("/faults")
def clear_faults() -> Response:
    fault_store.replace(sandbox().store, [], EventFaults())
    sandbox().webhook_sender.wake()
    return Response(status=204)


@tools.post("/reset")
def reset() -> Response:
    """Forget everything: mail, events, suppressions, faults, calls."""
    store = sandbox().store
    inbox.clear(store)
    fault_store.replace(store, [], EventFaults())
    call_log.clear(store)
    with store.write() as connection:
        connection.execute("DELETE FROM suppressions")
    return Response(status=204)


@tools.post("/retry")
def retry() -> Response:
    """Tell waiting events now rather than at the end of their interval."""
    outbox.retry_now(sandbox().store, now=sandbox().settings.clock())
    sandbox().webhook_sender.wake()
    return Response(status=204)


def _described(mail: Mail) -> dict[str, Any]:
    return {
        "id": mail.id,
        "x_message_id": mail.request_id,
        "received_at": mail.received_at,
        "send_at": mail.send_at,
        "answered": mail.answered,
        "from": mail.sender,
        "to": list(mail.to),
        "cc": list(mail.cc),
        "bcc": list(mail.bcc),
        "subject": mail.subject,
        "html": mail.html,
        "text": mail.text,
        "links": [{"url": url, "text": words} for url, words in links(mail.html, mail.text)],
        "headers": mail.headers,
        "custom_args": mail.custom_args,
        "categories": list(mail.categories),
        "attachments": list(mail.attachments),
        "template_id": mail.template_id,
        "events": outbox.events_of(sandbox().store, mail),
    }


def _mail(mail_id: str) -> Mail:
    found = inbox.get_mail(sandbox().store, mail_id)
    if found is None:
        abort(404)
    return found


def _json() -> Any:
    try:
        return orjson.loads(request.get_data())
    except orjson.JSONDecodeError:
        return None


def _lines(found: Iterator[list[str | None]]) -> Iterator[bytes]:
    """Yield lines in pieces of some size: one write for each line would be slow."""
    piece: list[bytes] = []
    for line in found:
        piece.append(orjson.dumps(line))
        if len(piece) == 1000:
            yield b"\n".join(piece) + b"\n"
            piece.clear()
    if piece:
        yield b"\n".join(piece) + b"\n"
