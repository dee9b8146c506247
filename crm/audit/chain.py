"""The hash chain of the audit log: how entries are hashed, and how tampering is found. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

START = b"\0" * 32


@dataclass(frozen=True, kw_only=True)
class Content:
    """The full content of an audit entry."""

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
    """A stored link with its entry; None if the entry was deleted."""

    number: int
    entry_id: int
    hash: bytes
    content: Content | None


class FindingKind(StrEnum):
    """How the log differs from what was written."""

    CHANGED = "changed"
    DELETED = "deleted"
    REORDERED = "reordered"
    UNSEALED = "unsealed"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sign of tampering."""

    kind: FindingKind
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
    """Return the findings on these links, which follow link `number` with the hash `before`.

    After a broken link the check continues from the stored hash, so one change is one finding.
    """
    findings = []
    for place, link in enumerate(links):
        if link.number != number + 1:
            gone = f"{number + 1} to {link.number - 1}" if link.number - number > 2 else f"{number + 1}"
            findings.append(
                Finding(kind=FindingKind.DELETED, entry_id=None, text=f"Link {gone} of the chain is missing.")
            )
        elif link.content is None:
            text = f"Entry {link.entry_id} was deleted."
            findings.append(Finding(kind=FindingKind.DELETED, entry_id=link.entry_id, text=text))
        elif digest(before, link.content) != link.hash:
            findings.append(_broken(links, place))
        before, number = link.hash, link.number
    return findings


def _broken(links: Sequence[Link], place: int) -> Finding:
    entry_id = links[place].entry_id
    after_earlier = any(link.entry_id > entry_id for link in links[max(0, place - 1) : place])
    before_later = any(link.entry_id < entry_id for link in links[place + 1 : place + 2])
    if after_earlier or before_later:
        return Finding(kind=FindingKind.REORDERED, entry_id=entry_id, text=f"Entry {entry_id} was moved.")
    return Finding(kind=FindingKind.CHANGED, entry_id=entry_id, text=f"Entry {entry_id} was changed.")
