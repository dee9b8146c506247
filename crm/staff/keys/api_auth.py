"""API authentication, rate limits and idempotency keys.

A repeated request with the same key gets the first reply, so a client may retry after a lost answer.
"""

import codecs
import json
import math
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar, cast

from flask import g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Unauthorized, UnsupportedMediaType

from crm.audit import service as audit
from crm.core import current, limits
from crm.core.errors import Invalid, NotAllowed, NotFound, TooMany
from crm.core.limits import Limit
from crm.staff.keys import api_keys
from crm.staff.keys.api_keys import Caller, Reply

View = TypeVar("View", bound=Callable[..., Any])

BODY_LIMIT = 64 * 1024  # bytes; the longest referral the schema takes is well below
GUESSES = 30  # wrong keys of one address in a minute
KEY_LIMIT = 200  # characters of an Idempotency-Key


def caller() -> Caller:
    """Return the caller of this request; only inside a view with `require_scope`."""
    return cast(Caller, g.caller)


def require_scope(scope: str | None) -> Callable[[View], View]:
    """Let in only requests with a key of this scope (None: any key), within its limit, with a JSON body if any."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            known = _authenticate()
            _enforce(Limit(name="api", who=known.actor, most=_per_minute(), seconds=60))
            if scope is not None and scope not in known.scopes:
                raise NotAllowed(f"This key lacks scope {scope}.")
            request.max_content_length = BODY_LIMIT
            if _has_body() and request.mimetype != "application/json":
                raise UnsupportedMediaType("Send JSON, and say so: Content-Type: application/json.")
            _refuse_unstorable(_read_body())
            g.caller = known
            with audit.acting(known.actor, address=request.remote_addr):
                return view(*args, **kwargs)

        guarded.api_scope = scope or "any"  # type: ignore[attr-defined]
        return cast(View, guarded)

    return guard


def _has_body() -> bool:
    if request.method == "GET":
        return False
    return bool(request.content_length or request.mimetype or "Transfer-Encoding" in request.headers)


def _read_body() -> Any:
    """Return the JSON of the body; None without one. Reads past a byte order mark, which Windows tools write.

    Raises BadRequest for what is no JSON, or holds numbers no system agrees on; Invalid for a key named twice.
    """
    if not _has_body():
        return None
    raw = request.get_data().removeprefix(codecs.BOM_UTF8)
    request._cached_data = raw  # what every later reader gets
    if not raw:
        return None
    try:
        return json.loads(
            raw.decode(), object_pairs_hook=_single_keys, parse_constant=_finite, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error


def _single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Invalid({key if _storable(key) else "body": ["This field is named twice. Send it once."]})
        found[key] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("Not a finite number.")
    return number


def _refuse_unstorable(body: Any) -> None:
    """Refuse what no column can hold: NUL characters and lone surrogates anywhere, ids beyond 64 bits in the path."""
    ids = (request.view_args or {}).values()
    if any(isinstance(value, int) and value >= 2**63 for value in ids):
        raise NotFound("There is nothing with this id.")
    if not all(map(_storable, _strings([body, *ids, *request.args.values(), *request.args]))):
        raise Invalid({"body": ["There are characters in the request that cannot be stored."]})


def _strings(sent: list[Any]) -> Iterator[str]:
    """Yield every string inside parsed JSON, keys too."""
    while sent:
        value = sent.pop()
        if isinstance(value, dict):
            sent += [*value, *value.values()]
        elif isinstance(value, list):
            sent += value
        elif isinstance(value, str):
            yield value


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _per_minute() -> int:
    return current.settings().api_per_minute


def _authenticate() -> Caller:
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    known = api_keys.find(key.strip()) if kind.lower() == "bearer" and key else None
    if known is None:
        _enforce(Limit(name="api-guess", who=request.remote_addr or "", most=GUESSES, seconds=60))
        raise Unauthorized(
            "Send a valid key: Authorization: Bearer <key>.", www_authenticate=WWWAuthenticate("bearer")
        )
    return known


def _enforce(limit: Limit) -> None:
    reached = limits.hit([limit])
    if reached is not None:
        raise TooMany("Too many requests. Wait a little, then go on.", retry_after=reached.retry_after)


def once(view: View) -> View:
    """Honor an Idempotency-Key: repeat the first reply to the same request without doing anything again.

    The view returns (JSON object with ids and codes only, status).
    """

    @wraps(view)
    def idempotent(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(*args, **kwargs)
        if not 0 < len(key) <= KEY_LIMIT or not key.isascii() or not key.isprintable():
            raise Invalid({"Idempotency-Key": [f"Use 1 to {KEY_LIMIT} printable ASCII characters."]})
        who = caller().actor
        asked = f"{request.method} {request.path}\n".encode() + request.get_data()
        before = api_keys.first_time(caller=who, key=key, request=asked)
        if before is None:
            body, status = view(*args, **kwargs)
            api_keys.keep(caller=who, key=key, reply=Reply(status=status, body=body))
            return body, status
        return before.body, before.status, {"Idempotent-Replay": "true"}

    return cast(View, idempotent)
