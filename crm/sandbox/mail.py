"""From one mail/send request to the single mails that leave: who, what and with which headers. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, formataddr
from html.parser import HTMLParser
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One personalization as its receivers would see it. `received_at` and `send_at` are epoch seconds.

    `answered` is False when it was taken in but the sender was left without an answer.
    """

    request_id: str
    index: int
    received_at: float
    send_at: int | None
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    html: str | None
    text: str | None
    headers: dict[str, str]
    custom_args: dict[str, str]
    categories: tuple[str, ...]
    attachments: tuple[str, ...]
    template_id: str | None
    source: dict[str, Any]
    answered: bool

    @property
    def id(self) -> str:
        return f"{self.request_id}.{self.index}"

    @property
    def recipients(self) -> tuple[str, ...]:
        return self.to + self.cc + self.bcc


def mail_at(
    body: dict[str, Any], index: int, *, request_id: str, received_at: float, answered: bool = True
) -> Mail:
    """Return one mail of an accepted request, with its substitutions made."""
    person = body["personalizations"][index]
    replace = replacer(person.get("substitutions") or {})
    parts = {part["type"]: replace(part["value"]) for part in _listed(body, "content")}
    subject = replace(person.get("subject") or body.get("subject") or "")
    return Mail(
        request_id=request_id,
        index=index,
        received_at=received_at,
        send_at=person.get("send_at", body.get("send_at")),
        sender=(person.get("from") or body["from"])["email"],
        to=_emails(person.get("to")),
        cc=_emails(person.get("cc")),
        bcc=_emails(person.get("bcc")),
        subject=subject,
        html=parts.get("text/html"),
        text=parts.get("text/plain"),
        headers=_headers(body, person, subject, replace, request_id=request_id, received_at=received_at),
        custom_args=custom_args(body, person),
        categories=tuple(_listed(body, "categories")),
        attachments=tuple(file["filename"] for file in _listed(body, "attachments")),
        template_id=body.get("template_id"),
        source={**body, "personalizations": [person]},
        answered=answered,
    )


def _listed(body: dict[str, Any], name: str) -> list[Any]:
    return body.get(name) or []


def custom_args(body: dict[str, Any], person: dict[str, Any]) -> dict[str, str]:
    """Merge the arguments of the message with those of one personalization, which win."""
    return {**(body.get("custom_args") or {}), **(person.get("custom_args") or {})}


def replacer(tags: dict[str, str]) -> Callable[[str], str]:
    """Return what replaces every tag by its value: plain text, once, the longest tag first, nothing escaped."""
    longest_first = sorted(filter(None, tags), key=len, reverse=True)
    if not longest_first:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(lambda match: tags[match[0]], text)


def links(html: str | None, text: str | None) -> list[tuple[str, str]]:
    """Return (address, words) of every link in a mail, each address once, in reading order."""
    if html is None:
        return [(url, url) for url in dict.fromkeys(re.findall(r"https?://[^\s<>\"]+", text or ""))]
    finder = _LinkFinder()
    finder.feed(html)
    return [(url, " ".join(words.split())) for url, words in finder.found.items()]


class _LinkFinder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") if tag == "a" else None
        if href:
            self._open = href if href not in self.found else None
            self.found.setdefault(href, "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.found[self._open] += data


def _headers(
    body: dict[str, Any],
    person: dict[str, Any],
    subject: str,
    replace: Callable[[str], str],
    *,
    request_id: str,
    received_at: float,
) -> dict[str, str]:
    """Return the headers a receiver would see: SendGrid's own first, then ours, the personalization's winning."""
    reply_to = body.get("reply_to_list") or ([body["reply_to"]] if body.get("reply_to") else [])
    own = {
        "From": _people([person.get("from") or body["from"]]),
        "To": _people(person.get("to")),
        "Cc": _people(person.get("cc")),
        "Reply-To": replace(_people(reply_to)),
        "Subject": subject,
        "Date": format_datetime(datetime.fromtimestamp(received_at, UTC)),
        "Message-ID": f"<{request_id}@sandbox.invalid>",
    }
    given = {**(body.get("headers") or {}), **(person.get("headers") or {})}
    return {**{name: value for name, value in own.items() if value}, **given}


def _emails(people: list[dict[str, Any]] | None) -> tuple[str, ...]:
    return tuple(person["email"] for person in people or ())


def _people(people: list[dict[str, Any]] | None) -> str:
    return ", ".join(_one(person) for person in people or ())


def _one(person: dict[str, Any]) -> str:
    name = person.get("name") or ""
    shown = formataddr((name, person["email"])) if name.isascii() else f"{name} <{person['email']}>"
    return " ".join(shown.split())
