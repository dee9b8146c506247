"""SendGrid's suppression lists: reading and changing them, and checking the API key.

Paths and paging as in SendGrid's published OpenAPI file for suppressions: at most 500 entries a page, newest first.
"""

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson

from crm.mailer.sendgrid import NotWritten, Raw, SendGridMailer

PAGE = 500
LISTS = ("bounces", "spam_reports", "invalid_emails", "unsubscribes", "blocks")
BUSY = "the provider asks to retry later"
REFUSED = "the provider refuses our key"
UNREACHABLE = "the provider cannot be reached"
LACKS_SCOPE = "the key may not do this"


class ListsError(Exception):
    """A list could not be read or changed; the text says why and holds no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One address on a list, and since when."""

    email: str
    created: datetime


class SendGridLists:
    """The lists of one account. Keeps a connection until `close`."""

    def __init__(self, *, api_key: str, url: str, timeout: float = 10.0) -> None:
        mailer = SendGridMailer(api_key=api_key, url=url, timeout=timeout)
        self._client, self.close = mailer.library.client, mailer.kept.close

    def page(self, name: str, *, since: datetime | None, offset: int) -> tuple[list[Entry], bool]:
        """Return up to PAGE entries of a list, the newest first, and whether there may be more. Raises ListsError."""
        asked = {"limit": PAGE, "offset": offset} | ({"start_time": int(since.timestamp())} if since else {})
        suppression_list = getattr(self._client.suppression, name)
        found = _json(_call(suppression_list.get, query_params=asked))
        if not isinstance(found, list):
            raise ListsError("the answer is not a list")
        return [entry for one in found if (entry := _entry(one)) is not None], len(found) >= PAGE

    def add(self, emails: Sequence[str]) -> None:
        """Add addresses to the global suppression list. Raises ListsError."""
        body = Raw(orjson.dumps({"recipient_emails": list(emails)}))
        _call(self._global().post, request_body=body)

    def remove(self, email: str) -> None:
        """Remove an address from the global suppression list. Raises ListsError."""
        _call(self._global()._(quote(email, safe="@")).delete)

    def erase(self, emails: Sequence[str]) -> None:
        """Ask the provider to erase what it keeps about at most 5,000 addresses. Raises ListsError."""
        _call(
            self._client.recipients.erasejob.post,
            request_body=Raw(orjson.dumps({"email_addresses": list(emails)})),
        )

    def check_key(self) -> None:
        """Request something that every key may read. Raises ListsError when the key is refused or there is no answer."""
        _call(self._client.scopes.get)

    def _global(self) -> Any:
        return self._client.asm.suppressions._("global")


def _call(method: Any, **options: Any) -> Any:
    try:
        answer = method(**options)
    except NotWritten as error:
        raise ListsError(UNREACHABLE) from error
    except (OSError, http.client.HTTPException) as error:
        raise ListsError(f"no answer ({type(error).__name__})") from error
    if answer.status_code == 401:
        raise ListsError(REFUSED)
    if answer.status_code == 403:
        raise ListsError(LACKS_SCOPE)
    if answer.status_code == 429 or answer.status_code >= 500:
        raise ListsError(BUSY)
    if not 200 <= answer.status_code < 300:
        raise ListsError(f"answer {answer.status_code}")
    return answer


def _json(answer: Any) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise ListsError("the answer is not JSON") from error


def _entry(one: Any) -> Entry | None:
    email, created = (one.get("email"), one.get("created")) if isinstance(one, dict) else (None, None)
    if (
        not isinstance(email, str)
        or "@" not in email
        or not isinstance(created, int)
        or not 0 <= created < 2**33
    ):
        return None
    return Entry(email=email, created=datetime.fromtimestamp(created, UTC))
