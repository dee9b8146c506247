"""Answers in the form SendGrid gives them, among them none at all."""

import socket
import struct
from collections.abc import Sequence

import orjson
from flask import Response, request

from crm.sandbox.api.validation import Problem

_REASONS = {
    400: "Bad Request",
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "access forbidden",
    404: "not found",
    405: "method not allowed",
    413: "content too large",
    415: "Content-Type should be application/json.",
    429: "too many requests",
    500: "internal server error",
    502: "bad gateway",
    503: "service unavailable",
    504: "gateway timeout",
}
_NGINX = {
    413: "Request Entity Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}


def as_json(document: object, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, mimetype="application/json")


def refusal(status: int, problems: Sequence[Problem] = ()) -> Response:
    """Return `{"errors": [{"message", "field", "help"}]}`."""
    listed = problems or (Problem(_REASONS[status]),)
    return as_json(
        {"errors": [{"message": one.message, "field": one.field, "help": None} for one in listed]}, status
    )


def proxy_page(status: int) -> Response:
    """Return the HTML page of the proxy in front of the API, which knows no JSON."""
    title = f"{status} {_NGINX.get(status, _REASONS[status].title())}"
    html = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(html, status, mimetype="text/html")


def close_connection() -> Response:
    """Close the connection under this request at once, without a byte of an answer.

    The server's socket is shut down, so whatever is answered afterwards goes nowhere. Needs a server that hands its
    socket to the application: ours, gunicorn or werkzeug.
    """
    for name in ("sandbox.socket", "gunicorn.socket", "werkzeug.socket"):
        if (line := request.environ.get(name)) is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.shutdown(socket.SHUT_RDWR)
            break
    return Response(status=500, headers={"Connection": "close"})
