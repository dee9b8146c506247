"""SendGrid's v3 Mail Send, through the official library, over a kept connection and with a timeout.

The library opens a connection and reads the CA bundle for every call and serializes slowly; `KeptClient` replaces
just its transport. Limits are SendGrid's own: docs.sendgrid.com/api-reference/mail-send/limitations.
"""

import http.client
import json
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import orjson
import python_http_client
from sendgrid import SendGridAPIClient

from crm.mailer import Envelope, Fate, Outcome, PayloadError, PreparedCall, Recipient, tidy_error

MAX_RECIPIENTS = 1_000
MAX_SUBSTITUTION_BYTES = 10_000
MAX_BYTES = 30 * 1024 * 1024
MESSAGE_ARG = "pp_msg"
IDLE_SECONDS = 4.0  # after this a kept connection may be closing
_RESERVED = {
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
} | {*("to", "from", "subject", "reply-to", "cc", "bcc")}
_TRACKING_OFF = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
    "ganalytics": {"enable": False},
}


class NotWritten(Exception):
    """The request was not written completely; surely nothing was accepted."""


class Raw(bytes):
    """A body that is serialized already: the library calls `encode` of a non-JSON body.

    It prints as its size. The library formats every body for a debug line, whatever the level of the log: that took a
    twentieth of the time of a thousand emails, and would put their addresses into a log.
    """

    def encode(self, _encoding: str) -> bytes:
        return self

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)


class Answer:
    """A response as the library expects it: status, headers and body, read completely."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def getcode(self) -> int:
        return self.status

    def read(self) -> bytes:
        return self.body

    def info(self) -> Any:
        return self.headers


class KeptClient(python_http_client.Client):  # type: ignore[misc]
    """The library's client with a transport that keeps one connection and reports what is known when it breaks."""

    def __init__(self, *, kept: "KeptConnection", **options: Any) -> None:
        super().__init__(**options)
        self.kept = kept

    def _build_client(self, name: str | None = None) -> "KeptClient":
        return KeptClient(
            kept=self.kept,
            host=self.host,
            version=self._version,
            request_headers=self.request_headers,
            url_path=[*self._url_path, name] if name else self._url_path,
            append_slash=self.append_slash,
            timeout=self.timeout,
        )

    def _make_request(self, _opener: Any, request: Any, timeout: float | None = None) -> Answer:
        headers = {**dict(request.header_items()), "Content-Type": "application/json"}
        return self.kept.request(request.get_method(), request.selector, request.data, headers, timeout)


class KeptConnection:
    """One HTTP/1.1 connection to the provider per thread, opened when needed and replaced when it may be stale."""

    def __init__(self, url: str, *, timeout: float) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.https = parts.hostname or "", parts.port, parts.scheme == "https"
        self.timeout = timeout
        self.tls = ssl.create_default_context() if self.https else None
        self._mine = threading.local()

    @property
    def connection(self) -> http.client.HTTPConnection | None:
        found: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        return found

    @connection.setter
    def connection(self, connection: http.client.HTTPConnection | None) -> None:
        self._mine.connection = connection

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float | None
    ) -> Answer:
        """Send one request and read the whole answer. Raises NotWritten, or OSError/HTTPException afterwards."""
        try:
            connection = self._ready(timeout or self.timeout)
            connection.request(method, path, body, dict(headers))
        except (OSError, http.client.HTTPException) as error:
            # Part of the announced length was not sent, so the provider cannot have accepted the request.
            self.close()
            raise NotWritten(type(error).__name__) from error
        try:
            answer = Answer(connection.getresponse())
        except BaseException:
            self.close()
            raise
        self._mine.used_at = time.monotonic()
        if answer.headers.get("Connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Drop the connection; the next request opens a new one."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _ready(self, timeout: float) -> http.client.HTTPConnection:
        if self.connection is not None and self._stale(self.connection):
            self.close()
        if self.connection is None:
            if self.tls is not None:
                fresh: http.client.HTTPConnection = http.client.HTTPSConnection(
                    self.host, self.port, timeout=timeout, context=self.tls
                )
            else:
                fresh = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
            fresh.connect()
            fresh.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = fresh
        return self.connection

    def _stale(self, connection: http.client.HTTPConnection) -> bool:
        """Tell whether the other side closed it: then there is something to read while it is idle."""
        if time.monotonic() - getattr(self._mine, "used_at", 0.0) > IDLE_SECONDS or connection.sock is None:
            return True
        return bool(select.select([connection.sock], [], [], 0)[0])


class SendGridMailer:
    """The transport called `sendgrid`. SendGrid signs no BAA."""

    name = "sendgrid"
    has_baa = False

    def __init__(self, *, api_key: str, url: str, timeout: float = 10.0) -> None:
        self.library = SendGridAPIClient(api_key, host=url)
        headers = {**self.library._default_headers, "Content-Type": "application/json; charset=utf-8"}
        self.kept = KeptConnection(url, timeout=timeout)
        self.library.client = KeptClient(
            kept=self.kept, host=url, version=3, request_headers=headers, timeout=timeout
        )

    def prepare(self, envelope: Envelope, recipients: Sequence[Recipient]) -> PreparedCall:
        """Build the request. One recipient per personalization; no tracking; one opaque custom argument."""
        body = Raw(orjson.dumps(payload(envelope, recipients)))
        if len(body) >= MAX_BYTES:
            raise PayloadError("The call is larger than the provider takes (30 MB).")
        return PreparedCall(partial(self.post, body))

    def post(self, body: Raw) -> Outcome:
        """Make the call and return what is known."""
        try:
            answer = self.library.client.mail.send.post(request_body=body)
        except NotWritten as error:
            return Outcome(fate=Fate.TRY_AGAIN, error=tidy_error("not connected", str(error)))
        except (OSError, http.client.HTTPException) as error:
            return Outcome(fate=Fate.UNKNOWN, error=tidy_error("no answer", type(error).__name__))
        return read_answer(answer.status_code, answer.headers, answer.body)


def payload(envelope: Envelope, recipients: Sequence[Recipient]) -> dict[str, Any]:
    """Return the JSON of one call. Raises PayloadError when it would break a limit."""
    _check(envelope, recipients)
    personalizations: list[dict[str, Any]] = [
        {
            "to": [{"email": email}],
            "substitutions": substitutions,
            "custom_args": {MESSAGE_ARG: str(message_id)},
            **({"headers": {"List-Unsubscribe": f"<{unsubscribe_url}>"}} if unsubscribe_url else {}),
        }
        for message_id, email, substitutions, unsubscribe_url in recipients
    ]
    headers = dict(envelope.headers)
    if envelope.list_unsubscribe:
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    body: dict[str, Any] = {
        "personalizations": personalizations,
        "from": {"email": envelope.from_email, "name": envelope.from_name},
        "subject": envelope.subject,
        "content": [
            {"type": "text/plain", "value": envelope.text},
            {"type": "text/html", "value": envelope.html},
        ],
        "tracking_settings": _TRACKING_OFF,
    }
    if envelope.reply_to:
        body["reply_to"] = {"email": envelope.reply_to}
    if headers:
        body["headers"] = headers
    return body


def _check(envelope: Envelope, recipients: Sequence[Recipient]) -> None:
    if not recipients:
        raise PayloadError("The call has no recipients.")
    if len(recipients) > MAX_RECIPIENTS:
        raise PayloadError("One call carries at most 1,000 recipients.")
    _check_envelope(envelope)
    _check_recipients(recipients, need_unsubscribe=envelope.list_unsubscribe)


def _check_envelope(envelope: Envelope) -> None:
    if not envelope.from_name.isascii() or re.search(r"[;,\r\n]", envelope.from_name):
        raise PayloadError("The sender's name must be plain ASCII without comma or semicolon.")
    if not envelope.from_email.isascii():
        raise PayloadError("The sender's address must be plain ASCII.")
    for name, value in (*envelope.headers.items(), ("subject", envelope.subject)):
        if re.search(r"[\r\n\0]", name + value):
            raise PayloadError(f"The header {name!r} has a line break in it.")
    if reserved := {name.lower() for name in envelope.headers} & _RESERVED:
        raise PayloadError(f"These headers are the provider's own: {', '.join(sorted(reserved))}.")


def _check_recipients(recipients: Sequence[Recipient], *, need_unsubscribe: bool) -> None:
    if len({recipient.email for recipient in recipients}) != len(recipients):
        raise PayloadError("An address stands twice in one call.")
    for _, _, substitutions, unsubscribe_url in recipients:
        # a character takes at most 6 bytes, so only long ones are worth counting exactly
        size = len("".join(substitutions)) + len("".join(substitutions.values()))
        if size * 6 > MAX_SUBSTITUTION_BYTES and len(orjson.dumps(substitutions)) > MAX_SUBSTITUTION_BYTES:
            raise PayloadError("The substitutions of one recipient are larger than 10,000 bytes.")
        if need_unsubscribe and not unsubscribe_url:
            raise PayloadError("Mail that is not transactional needs an unsubscribe address for everyone.")


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Classify one HTTP answer of Mail Send. Bodies may be JSON, HTML or nothing."""
    if status == 202:
        return Outcome(fate=Fate.ACCEPTED, provider_id=headers.get("X-Message-Id"))
    errors = _errors(body)
    first = errors[0][1] if errors else ""
    error = tidy_error(status, first)
    if status == 200:  # sandbox mode: checked, not sent
        return Outcome(fate=Fate.REFUSED, error=tidy_error(200, "sandbox mode is on: nothing is sent"))
    if status == 429:
        return Outcome(fate=Fate.THROTTLED, retry_at=_reset(headers), error=error)
    if status in (401, 403):
        return Outcome(fate=Fate.UNAUTHORISED, error=error)
    if status == 400 and (named := _named(errors)):
        return Outcome(fate=Fate.REFUSED_SOME, refused=named, error=error)
    if status >= 500:
        return Outcome(fate=Fate.TRY_AGAIN, error=error)
    return Outcome(fate=Fate.REFUSED, error=error)


def _errors(body: bytes) -> list[tuple[str, str]]:
    """Return (field, message) of each error; nothing for a body that is not the documented shape."""
    try:
        found = json.loads(body)["errors"]
        return [(str(one.get("field") or ""), str(one.get("message") or "")) for one in found]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _named(errors: Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """Return the indexes of the personalizations that errors name, when every error names one."""
    found = [re.match(r"personalizations\.(\d+)\.", field) for field, _ in errors]
    if not found or not all(found):
        return ()
    return tuple(sorted({int(match.group(1)) for match in found if match}))


def _reset(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers.get("X-RateLimit-Reset") or "")
    except ValueError:
        return None
