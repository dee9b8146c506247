"""The hash chain of the audit log: how entries are hashed, and how tampering is found. Pure.

A person who can write to the database can compute hashes. So each link also carries a code with a key outside the database
(HMAC), and so does each entry (`proof`). Links and entries of releases before have none; after the first link with a
code every link needs one, and every entry a day later: the previous release may run beside this one while it is
replaced.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from crm.audit import entry_proofs
from crm.audit.entry_proofs import Statement

START = b"\0" * 32
Codes = Callable[[bytes], Iterable[bytes]]


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
    proof: bytes | None = None

    @property
    def statement(self) -> Statement:
        return Statement(
            at=self.at,
            actor=self.actor,
            action=self.action,
            object_type=self.object_type,
            purpose=self.purpose,
            ip_index=self.ip_index,
            detail=self.detail,
        )


@dataclass(frozen=True, kw_only=True)
class Link:
    """A stored link with its entry; None if the entry was deleted. `mac`: None for links of earlier releases."""

    number: int
    entry_id: int
    hash: bytes
    content: Content | None
    mac: bytes | None = None


class FindingKind(StrEnum):
    """How the log differs from what was written."""

    CHANGED = "changed"
    DELETED = "deleted"
    REORDERED = "reordered"
    UNSEALED = "unsealed"
    INSERTED = "inserted"  # not recorded by this service
    FORGED = "forged"  # a link without the key
    CUT = "cut"  # a seal outside names a link that is not there


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
        *([content.proof.hex()] if content.proof is not None else []),
    ]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(before + text.encode()).digest()


def mac_message(number: int, hash_: bytes) -> bytes:
    """Return the bytes whose HMAC is the code of a link."""
    return b"link\0" + number.to_bytes(8) + hash_


def extend(
    before: bytes, number: int, contents: Iterable[Content], *, sign: Callable[[bytes], bytes]
) -> list[Link]:
    """Return the links for entries that follow link `number`, whose hash is `before`."""
    links = []
    for content in contents:
        number += 1
        before = digest(before, content)
        mac = sign(mac_message(number, before))
        links.append(Link(number=number, entry_id=content.id, hash=before, content=content, mac=mac))
    return links


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """The first link with a code, and from when every entry needs a proof; `codes` gives a message's code by each key."""

    from_number: int
    proven_since: datetime
    codes: Codes


def check_codes(links: Sequence[Link], *, keyed: Keyed) -> list[Finding]:
    """Return the findings on the codes of these links and the proofs of their entries."""
    findings = []
    for link in links:
        if link.number >= keyed.from_number and not _has_code(link, keyed.codes):
            text = f"Link {link.number} of the chain was not made with the key of this service."
            findings.append(Finding(kind=FindingKind.FORGED, entry_id=link.entry_id, text=text))
        elif link.content is not None and not _is_proven(link.content, keyed):
            text = f"Entry {link.entry_id} was not recorded by this service, or was changed."
            findings.append(Finding(kind=FindingKind.INSERTED, entry_id=link.entry_id, text=text))
    return findings


def _has_code(link: Link, codes: Codes) -> bool:
    return link.mac is not None and link.mac in codes(mac_message(link.number, link.hash))


def _is_proven(content: Content, keyed: Keyed) -> bool:
    if content.proof is None:
        return content.at < keyed.proven_since
    return entry_proofs.holds(content.proof, content.statement, content.object_id, codes=keyed.codes)


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
