"""Requests as an application would make them."""

import http.client
from typing import Any
from urllib.parse import urlsplit

import orjson

KEY = "SG.tests.key"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


def letter(*people: str, **changes: Any) -> dict[str, Any]:
    """Return a mail/send body to these addresses, one personalization each; `changes` replace top-level keys."""
    body = {
        "from": {"email": "news@clinic.example", "name": "Clinic"},
        "subject": "Hello -name-",
        "content": [
            {"type": "text/plain", "value": "Dear -name-\n-stop-"},
            {"type": "text/html", "value": "<head></head><p>Dear -name-</p><a href='-stop-'>Stop</a>"},
        ],
        "personalizations": [person(address, number) for number, address in enumerate(people)],
    }
    return {**body, **changes}


def person(address: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "to": [{"email": address}],
        "substitutions": {"-name-": f"Ana {number}", "-stop-": f"https://clinic.example/u/{number}"},
        "custom_args": {"msg": f"m{number}"},
        "headers": {"List-Unsubscribe": f"<https://clinic.example/u/{number}>"},
        **changes,
    }


class Wire:
    """A connection that is kept open between requests."""

    def __init__(self, url: str, *, timeout: float = 10) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)

    def call(self, method: str, path: str, document: Any = None) -> tuple[int, dict[str, str], bytes]:
        raw = document if isinstance(document, bytes | None) else orjson.dumps(document)
        self.connection.request(method, path, raw, HEADERS)
        answer = self.connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()

    def json(self, method: str, path: str, document: Any = None) -> Any:
        return orjson.loads(self.call(method, path, document)[2])

    def send(self, document: Any) -> str:
        """Send a letter that must be accepted; return its X-Message-Id."""
        status, headers, body = self.call("POST", "/v3/mail/send", document)
        assert status == 202, body
        return headers["X-Message-Id"]

    def close(self) -> None:
        self.connection.close()
