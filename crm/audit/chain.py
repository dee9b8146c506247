"""What is hashed, and what a check of the chain finds. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

START = b"\0" * 32


@dataclass(frozen=True, kw_only=True)
class Content:
    """What an entry says, all of it."""

    id: int
    at: datetime
    actor: str
    action: str
    object_type: str | None
    object_id: int | None
    purpose: str | None
    ip_index: bytes | None
    detail: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Link:
    """One link as it is stored, with its entry (None: the entry is gone)."""

    number: int
    entry_id: int
    hash: bytes
    content: Content | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something is not as it was written. `kind`: changed, deleted, reordered, or unsealed."""

    kind: str
    entry_id: int | None
    text: str


def digest(before: bytes, content: Content) -> bytes:
    """Return SHA-256 over the hash before and the entry in one canonical form (sorted JSON, UTC, hex)."""
    plain = [
        content.id,
        content.at.astimezone(UTC).isoformat(timespec="microseconds"),
        content.actor,
        content.action,
        content.object_type,
        content.object_id,
        content.purpose,
        content.ip_index.hex() if content.ip_index is not None else None,
        content.detail,
    ]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(before + text.encode()).digest()


def extend(before: bytes, number: int, contents: Iterable[Content]) -> list[Link]:
    """Return the links for entries that follow link `number`, whose hash is `before`."""
    links = []
    for content in contents:
        number += 1
        before = digest(before, content)
        links.append(Link(number=number, entry_id=content.id, hash=before, content=content))
    return links


def check(links: Sequence[Link], *, before: bytes = START, number: int = 0) -> list[Finding]:
    """Return what is wrong with these links, which follow link `number` with the hash `before`.

    After a broken link the check goes on from the stored hash, so that one change is one finding.
    """
    findings = []
    for place, link in enumerate(links):
        if link.number != number + 1:
            gone = f"{number + 1} to {link.number - 1}" if link.number - number > 2 else f"{number + 1}"
            findings.append(Finding(kind="deleted", entry_id=None, text=f"Link {gone} of the chain is gone."))
        elif link.content is None:
            text = f"Entry {link.entry_id} was deleted."
            findings.append(Finding(kind="deleted", entry_id=link.entry_id, text=text))
        elif digest(before, link.content) != link.hash:
            findings.append(_broken(links, place))
        before, number = link.hash, link.number
    return findings


def _broken(links: Sequence[Link], place: int) -> Finding:
    entry_id = links[place].entry_id
    after_earlier = any(link.entry_id > entry_id for link in links[max(0, place - 1) : place])
    before_later = any(link.entry_id < entry_id for link in links[place + 1 : place + 2])
    if after_earlier or before_later:
        return Finding(kind="reordered", entry_id=entry_id, text=f"Entry {entry_id} stands in another place.")
    return Finding(kind="changed", entry_id=entry_id, text=f"Entry {entry_id} is not what was written.")
