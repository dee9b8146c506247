"""The versions of the shared blocks of one language, and with which of them an approved email is sent. Pure.

An email is approved with its blocks. When a block changes, its emails go on with the block that they were approved with,
until two people approve the change; but not after a safety change, from the moment it is submitted.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from crm.content.render.fields import ContentError


class BlockVersion(NamedTuple):
    """One version of a block that was approved once, or (`pending`) a safety change that nobody approved yet."""

    name: str
    number: int
    source: str
    approved_at: datetime | None
    safety: bool
    pending: bool


@dataclass(frozen=True)
class Shelf:
    """All versions of the blocks of one language."""

    versions: tuple[BlockVersion, ...] = ()

    @cached_property
    def current(self) -> Mapping[str, str]:
        """The newest approved text of each block."""
        return {name: one.source for name, one in self._newest(lambda one: not one.pending).items()}

    @cached_property
    def unsafe(self) -> frozenset[str]:
        """The blocks with a safety change that waits for its approval."""
        return frozenset(one.name for one in self.versions if one.pending)

    def as_of(self, at: datetime) -> Mapping[str, str]:
        """Return the text that each block had at a time."""
        return {name: one.source for name, one in self._until(at).items()}

    def changed_for_safety(self, at: datetime) -> frozenset[str]:
        """Return the blocks with a safety change that was approved after a time."""
        then = self._until(at)
        return frozenset(
            one.name
            for one in self.versions
            if one.safety and not one.pending and one.name in then and one.number > then[one.name].number
        )

    def _until(self, at: datetime) -> dict[str, BlockVersion]:
        return self._newest(lambda one: one.approved_at is not None and one.approved_at <= at)

    def _newest(self, counts: Callable[[BlockVersion], bool]) -> dict[str, BlockVersion]:
        found: dict[str, BlockVersion] = {}
        for one in self.versions:
            if counts(one) and (one.name not in found or found[one.name].number < one.number):
                found[one.name] = one
        return found


class Fit(NamedTuple):
    """The blocks that an approved email is sent with, and whether one of them has a newer version."""

    blocks: Mapping[str, str]
    is_older: bool


def fit(
    shelf: Shelf,
    *,
    names: Iterable[str],
    approved_at: datetime | None,
    hash: bytes,
    digest: Callable[[Mapping[str, str]], bytes],
) -> Fit | None:
    """Return the blocks with which an approved email is what was approved; None when it is void, or a safety change waits.

    `names` are its blocks; `digest` computes its hash with given blocks.
    """
    used = frozenset(names)
    if used & shelf.unsafe:
        return None
    if _is(digest, shelf.current, hash):
        return Fit(shelf.current, is_older=False)
    if approved_at is None or used & shelf.changed_for_safety(approved_at):
        return None
    then = shelf.as_of(approved_at)
    return Fit(then, is_older=True) if _is(digest, then, hash) else None


def _is(digest: Callable[[Mapping[str, str]], bytes], blocks: Mapping[str, str], hash: bytes) -> bool:
    try:
        return digest(blocks) == hash
    except ContentError:
        return False


COLUMNS = """
    i.key, v.language, v.number, v.source, v.approved_at, v.safety, v.state in ('draft', 'in_review') as pending
    from content_version v join content_item i on i.id = v.item_id
    where i.kind = 'block' and (v.state = 'approved'
        or (v.state = 'retired' and v.approved_at is not null and exists (select 1 from content_version n
            where n.item_id = v.item_id and n.language = v.language and n.state = 'approved' and n.number > v.number))
        or (v.safety and (v.state = 'in_review' or v.state = 'draft' and exists (select 1 from content_comment c
            where c.version_id = v.id and c.kind = 'changes'))))
"""
"""The versions on the shelves, as the end of a select.

A block that staff took out of use has no newer version and is not there. A safety change that a reviewer sent back still waits.
"""


def shelves(rows: Iterable[Any]) -> dict[str, Shelf]:
    """Return language -> shelf, from rows with the columns above."""
    found: dict[str, list[BlockVersion]] = {}
    for row in rows:
        name = row.key.removeprefix("block/")
        one = BlockVersion(name, row.number, row.source, row.approved_at, row.safety, row.pending)
        found.setdefault(row.language, []).append(one)
    return {language: Shelf(tuple(versions)) for language, versions in found.items()}
