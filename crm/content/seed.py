"""Loading of the shipped emails and blocks into the database, as versions by the author "shipped"."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from crm.audit import service as audit
from crm.content import rules
from crm.content.models import Approval, ContentItem, ContentVersion, VersionState
from crm.content.render import library
from crm.content.render.library import Library
from crm.content.render.rendering import content_hash
from crm.content.render.source import ContentError, Source
from crm.core import clock
from crm.core.db import db

AUTHOR = "shipped"


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many shipped files became new versions, and how many were there already."""

    added: int
    unchanged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One shipped file in one language. A block has no hash: the approval of each email that uses it covers it."""

    key: str
    kind: str
    title: str
    stream: str | None
    language: str
    text: str
    subject: str
    hash: bytes


def load_shipped(*, reviewers: Sequence[str]) -> Loaded:
    """Add each shipped file whose text differs from its newest shipped version as a new version.

    With two reviewers (clinical, compliance) the versions are approved at once in their names; without, they wait in
    review. Blocks come first, because the approval of an email covers the blocks it uses.

    Raises ContentError for any other number of reviewers.
    """
    if len(reviewers) not in (0, 2) or len(set(reviewers)) != len(reviewers):
        raise ContentError("reviewers", "Approval takes two different people: clinical, then compliance.")
    shipped = library.load_library()
    blocks = [_add_version(file, reviewers=()) for file in _blocks(shipped)]
    db.session.flush()
    emails = [_add_version(file, reviewers=reviewers) for file in _emails(shipped)]
    results = blocks + emails
    loaded = Loaded(added=sum(results), unchanged=len(results) - sum(results))
    audit.record("content.loaded", detail={"added": loaded.added})
    return loaded


def _blocks(shipped: Library) -> Iterator[_File]:
    for language, blocks in shipped.blocks.items():
        for name, text in blocks.items():
            yield _File(
                key=f"block/{name}", kind="block", title=name, stream=None, language=language, text=text,
                subject="", hash=b"",
            )  # fmt: skip


def _emails(shipped: Library) -> Iterator[_File]:
    for (sequence, slug, _), source in shipped.emails.items():
        yield _email(f"{sequence}/{slug}", "email", source, shipped)
    for (kind, _), source in shipped.transactional.items():
        yield _email(f"email/{kind}", "transactional", source, shipped)


def _email(key: str, kind: str, source: Source, shipped: Library) -> _File:
    digest = content_hash(source, blocks=shipped.blocks[source.language], layout=shipped.layout)
    return _File(
        key=key, kind=kind, title=source.purpose, stream=source.stream, language=source.language, text=source.text,
        subject=source.subject, hash=bytes.fromhex(digest),
    )  # fmt: skip


def _add_version(file: _File, *, reviewers: Sequence[str]) -> bool:
    """Add a file as a new version; return False when the newest shipped version is the same."""
    item = _item(file)
    newest, shipped = _newest(item.id, file.language), _newest(item.id, file.language, author=AUTHOR)
    customized = newest is not None and newest.author != AUTHOR  # then staff compare the two
    if shipped is not None and _same(shipped, file, ignore_hash=customized):
        return False
    approved = not customized and (file.kind == "block" or bool(reviewers))
    version = _version(file, item=item, number=newest.number + 1 if newest else 1)
    if approved:
        version.state, version.approved_at = VersionState.APPROVED, version.created_at
        version.expires_at = version.created_at + rules.LONGEST if reviewers else None
    db.session.add(version)
    db.session.flush()
    if approved:
        _approve(version, reviewers=reviewers)
    return True


def _same(version: ContentVersion, file: _File, *, ignore_hash: bool) -> bool:
    return version.source == file.text and (ignore_hash or version.hash == file.hash)


def _newest(item_id: int, language: str, *, author: str | None = None) -> ContentVersion | None:
    query = select(ContentVersion).where(
        ContentVersion.item_id == item_id, ContentVersion.language == language
    )
    if author is not None:
        query = query.where(ContentVersion.author == author)
    return db.session.scalar(query.order_by(ContentVersion.number.desc()).limit(1))


def _item(file: _File) -> ContentItem:
    item = db.session.scalar(select(ContentItem).where(ContentItem.key == file.key))
    if item is None:
        item = ContentItem(
            key=file.key, kind=file.kind, title=file.title, stream=file.stream, created_at=clock.now()
        )
        db.session.add(item)
        db.session.flush()
    return item


def _version(file: _File, *, item: ContentItem, number: int) -> ContentVersion:
    return ContentVersion(
        item_id=item.id,
        language=file.language,
        number=number,
        state=VersionState.IN_REVIEW,
        source=file.text,
        subject=file.subject,
        hash=file.hash,
        author=AUTHOR,
        created_at=clock.now(),
    )


def _approve(version: ContentVersion, *, reviewers: Sequence[str]) -> None:
    for role, reviewer in zip(rules.KINDS, reviewers, strict=False):
        db.session.add(
            Approval(
                version_id=version.id,
                role=role,
                reviewer=reviewer,
                hash=version.hash,
                at=version.created_at,
                expires_at=version.created_at + rules.LONGEST,
            )
        )
