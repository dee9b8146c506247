"""Drafts: open, save with an optimistic lock, duplicate, translate, restore."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import func, select

from crm.audit import service as audit
from crm.content import approval
from crm.content.editor.form_codec import Parts, build_source, split_fields
from crm.content.models import Autosave, ContentItem, ContentVersion, VersionState
from crm.content.render.fields import LANGUAGES, ContentError
from crm.content.render.source import LONGEST
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound

KEPT_APART = timedelta(minutes=2)  # saves of one person closer together than this are one step of the history


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The result of a save. `theirs` is the text another person saved meanwhile; then nothing was saved."""

    version: int
    theirs: str | None = None
    by: str = ""


def get_item(item_id: int) -> ContentItem:
    """Return an item. Raises NotFound."""
    found = db.session.get(ContentItem, item_id)
    if found is None:
        raise NotFound("Content not found.")
    return found


def open_draft(item_id: int, *, language: str, actor: str) -> ContentVersion:
    """Return the open draft of an item in a language, or a new one made from its newest text there (else from any)."""
    found = get_item(item_id)
    last = newest(item_id, language=language)
    if last is not None and last.state == VersionState.DRAFT:
        return last
    text = last.source if last else _translated(found, language)
    return create_draft(
        found, language=language, text=text, number=(last.number if last else 0) + 1, author=actor
    )


def newest(item_id: int, *, language: str) -> ContentVersion | None:
    """Return the newest version of an item in a language, whatever its state."""
    return db.session.scalar(
        select(ContentVersion)
        .where(ContentVersion.item_id == item_id, ContentVersion.language == language)
        .order_by(ContentVersion.number.desc())
        .limit(1)
    )


def translate(version_id: int, *, language: str, actor: str) -> ContentVersion:
    """Begin a draft in another language from the words of this one, to be translated.

    Where that language has an open draft, it is that one: nobody's words are written over.
    """
    source = approval.get(version_id)
    if language not in LANGUAGES or language == source.language:
        raise Invalid({"language": ["Choose the other language."]})
    last = newest(source.item_id, language=language)
    if last is not None and last.state == VersionState.DRAFT:
        return last
    text = _in_language(source.source, language)
    number = (last.number if last else 0) + 1
    return create_draft(source.item, language=language, text=text, number=number, author=actor)


def example(item_id: int, *, language: str) -> ContentVersion:
    """Return the text that a copy begins from: the approved one, else the newest, in this language where there is one.

    Raises Conflict when there is no text.
    """
    rows = db.session.scalars(
        select(ContentVersion).where(
            ContentVersion.item_id == item_id, ContentVersion.state != VersionState.RETIRED
        )
    ).all()
    if not rows:
        raise Conflict("This content has no text yet.")
    return max(
        rows, key=lambda row: (row.language == language, row.state == VersionState.APPROVED, row.number)
    )


def keep_authors(copy: ContentVersion, *, of: ContentVersion) -> None:
    """Name the authors of words that nobody approved yet as authors of their copy, so that none of them approves it."""
    if of.state != VersionState.APPROVED:
        _add_authors(copy, approval.authors(of))


def _add_authors(copy: ContentVersion, authors: Iterable[str]) -> None:
    for author in set(authors) - {copy.author}:
        db.session.add(Autosave(version_id=copy.id, source=copy.source, author=author, at=clock.now()))
    db.session.flush()


def submit_again(version_id: int, *, actor: str) -> ContentVersion:
    """Submit a text again as it is: a new version where the old one is still sent, else the same one."""
    version = approval.get(version_id)
    sent = approval.status_of(version, now=clock.now()) == "outdated"
    return renew(version_id, actor=actor) if sent else approval.submit(version_id, actor=actor)


def renew(version_id: int, *, actor: str) -> ContentVersion:
    """Resubmit the same text while its approval is still valid."""
    old = approval.get(version_id)
    if old.state != VersionState.APPROVED or approval.newer_approved(old) is not None:
        raise Conflict("Only the version in use can be renewed.")
    last = newest(old.item_id, language=old.language)
    if last is not None and last.id != old.id and last.state in (VersionState.DRAFT, VersionState.IN_REVIEW):
        raise Conflict("There is a newer version already. Approve or retire that one.")
    made = create_draft(
        old.item, language=old.language, text=old.source, number=old.number + 1, author=old.author
    )
    _add_authors(made, approval.authors(old))
    return approval.submit(made.id, actor=actor)


def save(version_id: int, *, parts: Parts, base: int, actor: str, safety: bool | None = None) -> Saved:
    """Save a draft. `base` is the number of the state the writer began from: with another, nothing is written over.

    `safety` says of a block whether its change concerns safety; None leaves that as it is.
    """
    version = approval.get(version_id, lock=True)
    if version.state != VersionState.DRAFT:
        raise Conflict("This version is no longer a draft. Begin a new one to change it.")
    text = build_source(_held(version, parts), before=version.source)
    if text == version.source:
        return _with_safety(version, safety)
    if version.version != base:
        return Saved(version=version.version, theirs=version.source, by=_last_hand(version))
    if len(text) > LONGEST:
        raise Invalid({"body": [f"Longer than {LONGEST:,} characters."]})
    _write(version, text, actor=actor)
    return _with_safety(version, safety)


def _with_safety(version: ContentVersion, safety: bool | None) -> Saved:
    if safety is not None and version.item.kind == "block":
        version.safety = safety
        db.session.flush()
    return Saved(version=version.version)


def _held(version: ContentVersion, parts: Parts) -> Parts:
    """What a form may not change: what it is, its stream and its language."""
    was = split_fields(version.source)
    return replace(
        parts,
        kind=was.kind,
        language=was.language,
        stream=was.stream,
        name=was.name,
        why=parts.why or was.why,
    )


def _write(version: ContentVersion, text: str, *, actor: str) -> None:
    parts = split_fields(text)
    version.source, version.subject = text, parts.subject
    db.session.flush()
    _remember(version, actor=actor)


def _remember(version: ContentVersion, *, actor: str) -> None:
    now = clock.now()
    last = db.session.scalar(
        select(Autosave).where(Autosave.version_id == version.id).order_by(Autosave.id.desc()).limit(1)
    )
    if last is not None and last.author == actor and now - last.at < KEPT_APART and not _only_one(version):
        last.source = version.source
    else:
        db.session.add(Autosave(version_id=version.id, source=version.source, author=actor, at=now))
    db.session.flush()


def _only_one(version: ContentVersion) -> bool:
    """The first state stays, so that everything can be undone."""
    count = db.session.scalar(select(func.count()).where(Autosave.version_id == version.id))
    return count == 1


def history(version_id: int, limit: int = 50) -> Sequence[Autosave]:
    """Return what a draft said before, newest first."""
    rows = select(Autosave).where(Autosave.version_id == version_id).order_by(Autosave.id.desc()).limit(limit)
    return db.session.scalars(rows).all()


def restore(version_id: int, *, autosave_id: int, actor: str) -> ContentVersion:
    """Make a draft say again what it said before; what it says now stays in the history."""
    version = approval.get(version_id, lock=True)
    row = db.session.get(Autosave, autosave_id)
    if version.state != VersionState.DRAFT or row is None or row.version_id != version.id:
        raise Conflict("This state cannot be brought back.")
    replace_text(version, row.source, actor=actor)
    audit.record("content.restored", object_type="content_version", object_id=version.id)
    return version


def replace_text(version: ContentVersion, text: str, *, actor: str) -> None:
    """Make a draft say this text, to the byte, as a step of its own in the history."""
    db.session.add(Autosave(version_id=version.id, source=text, author=actor, at=clock.now()))
    version.source, version.subject = text, split_fields(text).subject
    db.session.flush()


def create_draft(found: ContentItem, *, language: str, text: str, number: int, author: str) -> ContentVersion:
    """Make a draft with this text, to the byte."""
    made = ContentVersion(
        item_id=found.id,
        language=language,
        number=number,
        state=VersionState.DRAFT,
        source=text,
        subject=split_fields(text).subject,
        hash=b"",
        author=author,
        created_at=clock.now(),
    )
    db.session.add(made)
    db.session.flush()
    db.session.add(Autosave(version_id=made.id, source=text, author=author, at=clock.now()))
    audit.record("content.drafted", object_type="content_version", object_id=made.id)
    db.session.flush()
    return made


def _translated(found: ContentItem, language: str) -> str:
    for other in LANGUAGES:
        source = newest(found.id, language=other)
        if source is not None:
            return _in_language(source.source, language)
    raise Conflict("This content has no text yet.")


def _in_language(text: str, language: str) -> str:
    try:
        return build_source(replace(split_fields(text), language=language))
    except ContentError as error:
        raise Conflict("The text to translate from cannot be read.") from error


def _last_hand(version: ContentVersion) -> str:
    rows = history(version.id, limit=1)
    return rows[0].author if rows else version.author


def free_key(title: str) -> str:
    """Return a name for an email of the clinic's own that no other has."""
    name = "-".join(re.findall(r"[a-z0-9]+", title.lower()))[:60] or "email"
    stem = f"own/{name}"
    taken = set(db.session.scalars(select(ContentItem.key).where(ContentItem.key.like(f"{stem}%"))))
    return next(key for number in range(1, len(taken) + 2) if (key := _numbered(stem, number)) not in taken)


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"
