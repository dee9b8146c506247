"""JSON API under /api/v1: its OpenAPI description and the shape of its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import marshmallow as ma
from flask import Response, jsonify
from flask_smorest import Api, Blueprint
from flask_wtf import CSRFProtect
from werkzeug.exceptions import HTTPException

from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound, Refusal, TooMany
from crm.web import discovery

if TYPE_CHECKING:
    from crm.core.flask_app import CrmApp

PREFIX = "/api/v1"

STATUS: Mapping[type[Refusal], int] = {
    NotFound: 404,
    Conflict: 409,
    NotAllowed: 403,
    Invalid: 422,
    TooMany: 429,
}

_CODES = {
    400: "malformed",
    401: "no_key",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "changed",
    413: "too_long",
    415: "wrong_type",
    422: "invalid",
    428: "if_match_missing",
    429: "too_many",
}
_WORDS = {
    400: "The body is not JSON.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The body is too long.",
    422: "Some fields need another look.",
    500: "Something went wrong on our side. Nothing was stored.",
}


class _Inner(ma.Schema):
    code = ma.fields.String(metadata={"example": "invalid"})
    message = ma.fields.String(metadata={"example": "Some fields need another look."})
    fields = ma.fields.Dict(  # type: ignore[assignment]  # the name our callers see
        keys=ma.fields.String(),
        values=ma.fields.List(ma.fields.String()),
        metadata={"example": {"patient.birth_date": ["Not a valid date."]}},
    )


class ErrorSchema(ma.Schema):
    """The shape of every error."""

    error = ma.fields.Nested(_Inner)


class JsonApi(Api):
    """flask-smorest with our shape of errors, for API requests only."""

    ERROR_SCHEMA = ErrorSchema

    def _register_error_handlers(self) -> None:
        """Errors are answered by `error_response`, for requests under our prefix only."""


def init_api(app: "CrmApp", csrf: CSRFProtect) -> None:
    """Add the API and its description to the app. Requests carry a key and no cookie, so there is no CSRF check."""
    app.config.update(
        API_TITLE=f"{app.settings.clinic.name}: intake",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX=PREFIX,
        OPENAPI_JSON_PATH="openapi.json",
    )
    api = JsonApi(app, spec_kwargs={"security": [{"key": []}]})
    api.spec.components.security_scheme("key", {"type": "http", "scheme": "bearer"})
    for feature in discovery.find_blueprints("api", Blueprint):
        api.register_blueprint(feature, url_prefix=PREFIX)
        csrf.exempt(feature)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What an error response says: status, message, what is wrong with each field, and further headers."""

    status: int
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    headers: Sequence[tuple[str, str]] = ()


def error_response(error: Exception) -> Response:
    """Return any error as JSON: {"error": {"code", "message", "fields": {name: [what is wrong]}}}."""
    problem = _problem(error)
    code = _CODES.get(problem.status, "error")
    response = jsonify(error={"code": code, "message": problem.message, "fields": problem.fields})
    response.status_code = problem.status
    response.headers.extend(problem.headers)
    return response


def status_of(refusal: Refusal) -> int:
    """Return the HTTP status of a refusal."""
    return next((status for kind, status in STATUS.items() if isinstance(refusal, kind)), 400)


def _problem(error: Exception) -> Problem:
    match error:
        case Invalid():
            return Problem(status=status_of(error), message=error.message, fields=error.fields)
        case TooMany():
            wait = ("Retry-After", str(error.retry_after))
            return Problem(status=status_of(error), message=error.message, headers=[wait])
        case Refusal():
            return Problem(status=status_of(error), message=error.message)
        case HTTPException():
            return _http_problem(error)
        case _:
            return Problem(status=500, message=_WORDS[500])


def _http_problem(error: HTTPException) -> Problem:
    status = error.code or 500
    places = getattr(error, "data", {}).get("messages", {}) if status == 422 else {}
    return Problem(
        status=status,
        message=_WORDS.get(status) or error.description or error.name,
        fields={name: words for place in places.values() for name, words in _flat(place).items()},
        headers=[item for item in error.get_headers() if item[0] in _KEPT_HEADERS],
    )


_KEPT_HEADERS = ("Allow", "WWW-Authenticate", "Retry-After")


def _flat(messages: Any, path: str = "") -> dict[str, list[str]]:
    """Return nested messages as {"patient.phone": ["..."]}; those of a whole object under the object's name."""
    if isinstance(messages, list):
        return {path or "body": [_clear(str(message), path) for message in messages]}
    found: dict[str, list[str]] = {}
    for name, inner in messages.items():
        below = path if name == "_schema" else f"{path}.{name}" if path else str(name)
        found.update(_flat(inner, below))
    return found


_NO_OBJECT = ma.Schema().error_messages["type"]


def _clear(message: str, path: str) -> str:
    """Return the message, or what is expected where marshmallow names only a wrong type."""
    if message != _NO_OBJECT:
        return message
    where = f"“{path}”" if path else "the body"
    return f"Send {where} as one JSON object of named fields, {{…}}: not as a list, a text, a number or null."
