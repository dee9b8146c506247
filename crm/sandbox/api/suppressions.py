"""SendGrid's API: the lists of addresses it will not write to, and erasure."""

import uuid
from sqlite3 import Row
from typing import Any

import orjson
from flask import Blueprint, Response, request

from crm.sandbox import inbox
from crm.sandbox.api.responses import as_json, refusal
from crm.sandbox.api.validation import Problem, is_address
from crm.sandbox.context import sandbox

lists = Blueprint("suppressions", __name__)
_LISTS = "bounces, blocks, spam_reports, invalid_emails, unsubscribes"
_FIELDS = {
    "bounces": ("created", "email", "reason", "status"),
    "blocks": ("created", "email", "reason", "status"),
    "spam_reports": ("created", "email", "ip"),
    "invalid_emails": ("created", "email", "reason"),
    "unsubscribes": ("created", "email"),
}
_MAX_ERASED_ADDRESSES = 5000
_MAX_ERASE_BYTES = 256 * 1024


@lists.post("/asm/suppressions/global")
def suppress() -> Response:
    """Put addresses on the global list of those who unsubscribed."""
    addresses = _addresses("recipient_emails")
    if addresses is None:
        return refusal(
            400, [Problem("recipient_emails must be an array of email addresses", "recipient_emails")]
        )
    now = int(sandbox().settings.clock())
    with sandbox().store.write() as connection:
        connection.executemany(
            "INSERT OR IGNORE INTO suppressions (email, list, created) VALUES (?, 'unsubscribes', ?)",
            [(address.lower(), now) for address in addresses],
        )
    return as_json({"recipient_emails": addresses}, 201)


@lists.get("/asm/suppressions/global/<email>")
def is_suppressed(email: str) -> Response:
    found = _rows("unsubscribes", "email = ?", (email.lower(),))
    return as_json({"recipient_email": found[0]["email"]} if found else {})


@lists.delete("/asm/suppressions/global/<email>")
def lift_suppression(email: str) -> Response:
    _delete("unsubscribes", [email])
    return Response(status=204)


@lists.get(f"/suppression/<any({_LISTS}):name>")
def list_suppressed(name: str) -> Response:
    """List one kind, newest first; `start_time`, `end_time` in epoch seconds, `limit` at most 500, `offset`."""
    limit = min(max(request.args.get("limit", 500, int), 1), 500)
    found = _rows(
        name,
        "created BETWEEN ? AND ? AND email LIKE ? ESCAPE '\\' ORDER BY created DESC, email LIMIT ? OFFSET ?",
        (
            request.args.get("start_time", 0, int),
            request.args.get("end_time", 2**62, int),
            _starts_with(request.args.get("email", "")),
            limit,
            max(request.args.get("offset", 0, int), 0),
        ),
    )
    return as_json([_entry(name, row) for row in found])


@lists.delete("/suppression/<any(bounces, blocks, spam_reports, invalid_emails):name>")
def delete_suppressed(name: str) -> Response:
    """Delete the given addresses from a list, or all of it."""
    body = _json()
    if body.get("delete_all") is True and "emails" not in body:
        _delete(name, None)
        return Response(status=204)
    addresses = _addresses("emails")
    if addresses is None or body.get("delete_all"):
        return refusal(400, [Problem("either delete_all or emails is required, not both", "emails")])
    _delete(name, addresses)
    return Response(status=204)


@lists.get("/suppression/<any(bounces, blocks, spam_reports, invalid_emails):name>/<email>")
def look_at_suppressed(name: str, email: str) -> Response:
    return as_json([_entry(name, row) for row in _rows(name, "email = ?", (email.lower(),))])


@lists.delete("/suppression/<any(bounces, blocks, spam_reports, invalid_emails):name>/<email>")
def delete_one_suppressed(name: str, email: str) -> Response:
    if not _rows(name, "email = ?", (email.lower(),)):
        return refusal(404)
    _delete(name, [email])
    return Response(status=204)


@lists.post("/recipients/erasejob")
def erase() -> Response:
    """Erase the personal data of at most 5,000 people (256 KB) from stored mail."""
    if (request.content_length or 0) > _MAX_ERASE_BYTES:
        return refusal(400, [Problem("payload size exceeds 256 KB", "email_addresses")])
    addresses = _addresses("email_addresses")
    if not addresses or len(addresses) > _MAX_ERASED_ADDRESSES:
        return refusal(
            400, [Problem("between 1 and 5000 valid email addresses are required", "email_addresses")]
        )
    inbox.erase(sandbox().store, addresses)
    return as_json({"job_id": str(uuid.uuid4())}, 202)


def _json() -> dict[str, Any]:
    try:
        body = orjson.loads(request.get_data())
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _addresses(key: str) -> list[str] | None:
    given = _json().get(key)
    if not isinstance(given, list) or not all(is_address(one) for one in given):
        return None
    return given


def _rows(name: str, condition: str, values: tuple[object, ...]) -> list[Row]:
    with sandbox().store.read() as connection:
        return connection.execute(
            f"SELECT * FROM suppressions WHERE list = ? AND {condition}",
            (name, *values),
        ).fetchall()


def _delete(name: str, addresses: list[str] | None) -> None:
    with sandbox().store.write() as connection:
        if addresses is None:
            connection.execute("DELETE FROM suppressions WHERE list = ?", (name,))
        else:
            connection.executemany(
                "DELETE FROM suppressions WHERE list = ? AND email = ?",
                [(name, address.lower()) for address in addresses],
            )


def _entry(name: str, row: Row) -> dict[str, Any]:
    known = {**dict(row), "ip": "192.0.2.25"}
    return {field: known[field] for field in _FIELDS[name]}


def _starts_with(text: str) -> str:
    """Return a LIKE pattern: addresses that start with `text`, in which `%` stands for anything."""
    return text.lower().replace("\\", "\\\\").replace("_", "\\_") + "%"
