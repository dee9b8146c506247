"""SendGrid's API: sending mail. Everything under `/v3` asks for the API key first."""

import gzip
import hmac
import math
import time
import zlib
from typing import Any

import orjson
from flask import Blueprint, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from crm.sandbox import call_log, fault_store, inbox
from crm.sandbox.api.responses import as_json, close_connection, proxy_page, refusal
from crm.sandbox.api.validation import MAX_REQUEST_BYTES, Problem, problems
from crm.sandbox.context import sandbox
from crm.sandbox.faults import Fault

v3 = Blueprint("v3", __name__, url_prefix="/v3")
_SCOPES = [
    "mail.send",
    "mail.batch.create",
    "mail.batch.read",
    "asm.suppressions.global.create",
    "asm.suppressions.global.delete",
    "suppression.read",
]


@v3.before_request
def apply_faults_and_check_key() -> Response | None:
    """Let a fault decide first, as an outage would; then ask for the key."""
    g.started, g.note, g.later = time.monotonic(), "", None
    where = "send" if request.path == "/v3/mail/send" else "all"
    for fault in fault_store.take_due(sandbox().store, where=where):
        g.note = fault.in_words()
        if answer := _apply_fault(fault):
            return answer
    given = request.headers.get("Authorization", "")
    if not given:
        return refusal(401, [Problem("authorization required")])
    if not hmac.compare_digest(given.encode(), f"Bearer {sandbox().settings.api_key}".encode()):
        return refusal(401)
    return None


@v3.after_request
def log_call(response: Response) -> Response:
    response.headers.setdefault("X-RateLimit-Limit", "600")
    response.headers.setdefault("X-RateLimit-Remaining", "599")
    response.headers.setdefault("X-RateLimit-Reset", str(int(sandbox().settings.clock()) + 60))
    call_log.record(
        sandbox().store,
        at=sandbox().settings.clock(),
        way="in",
        method=request.method,
        path=request.url_rule.rule if request.url_rule else request.path,
        status=0 if g.get("hung_up") else response.status_code,
        note=g.get("note", ""),
        started=g.get("started", time.monotonic()),
    )
    return response


@v3.post("/mail/send")
def send() -> Response:
    """Check a mail/send request as SendGrid does and store it before saying 202."""
    if request.mimetype != "application/json":
        return refusal(415)
    raw = _raw_body()
    if raw is None:
        return refusal(400)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return refusal(400)
    now = sandbox().settings.clock()
    found = problems(body, now=now) or _refused(body)
    if found:
        return refusal(400, found)
    if _validates_only(body):
        return Response(status=200)
    return _accept(raw, body, now)


@v3.post("/mail/batch")
def make_batch() -> Response:
    batch = sandbox().new_batch()
    return as_json({"batch_id": batch}, 201)


@v3.get("/mail/batch/<batch_id>")
def look_at_batch(batch_id: str) -> Response:
    if not sandbox().knows_batch(batch_id):
        return refusal(400, [Problem("invalid batch id")])
    return as_json({"batch_id": batch_id})


@v3.get("/scopes")
def scopes() -> Response:
    return as_json({"scopes": _SCOPES})


def sendgrid_error(error: HTTPException) -> Response:
    """Turn an error of the framework into SendGrid's form."""
    if isinstance(error, RequestEntityTooLarge):
        return proxy_page(413)
    if isinstance(error, NotFound | MethodNotAllowed):
        return refusal(error.code or 404)
    return refusal(400)


def _raw_body() -> bytes | None:
    raw = request.get_data(cache=False)
    if request.headers.get("Content-Encoding", "") != "gzip":
        return raw
    try:
        unpacked = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        return None
    if len(unpacked) > MAX_REQUEST_BYTES:
        raise RequestEntityTooLarge
    return unpacked


def _accept(raw: bytes, body: dict[str, Any], now: float) -> Response:
    silent = g.later is not None and g.later.kind == "drop_after"
    moments = [person.get("send_at") or body.get("send_at") or 0 for person in body["personalizations"]]
    request_id = inbox.store_request(
        sandbox().store,
        raw,
        mails=len(body["personalizations"]),
        now=now,
        due_at=max(now, *moments) + sandbox().settings.event_delay,
        answered=not silent,
    )
    sandbox().webhook_sender.wake()
    if silent:
        return _hang_up()
    return Response(status=202, headers={"X-Message-Id": request_id}, mimetype="text/plain")


def _validates_only(body: dict[str, Any]) -> bool:
    setting = (body.get("mail_settings") or {}).get("sandbox_mode") or {}
    return setting.get("enable") is True


def _apply_fault(fault: Fault) -> Response | None:
    if fault.kind == "delay":
        time.sleep(fault.seconds)
    if fault.kind == "drop_before":
        return _hang_up()
    if fault.kind in ("drop_after", "refuse"):
        g.later = fault
    if fault.kind == "status":
        return proxy_page(fault.status) if fault.body == "html" else refusal(fault.status)
    if fault.kind == "rate_limit":
        answer = refusal(429)
        answer.headers["X-RateLimit-Remaining"] = "0"
        answer.headers["X-RateLimit-Reset"] = str(math.ceil(sandbox().settings.clock() + fault.reset_in))
        return answer
    return None


def _refused(body: dict[str, Any]) -> list[Problem]:
    """Name the personalizations that the standing `refuse` fault is about, as for an address found bad."""
    fault: Fault | None = g.later
    if fault is None or fault.kind != "refuse":
        return []
    return [
        Problem("Does not contain a valid address.", f"personalizations.{index}.to.0.email")
        for index, person in enumerate(body["personalizations"])
        if (fault.match in person["to"][0]["email"] if fault.match else index == fault.personalization)
    ]


def _hang_up() -> Response:
    g.hung_up = True
    return close_connection()
