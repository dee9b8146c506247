"""Content as files: out of the database and back in, byte for byte. Blocks, service emails and sequences have their folders."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on

from crm.audit import service as audit
from crm.content import approval
from crm.content.editor import service as editor
from crm.content.editor.form_codec import Parts, build_source, split_fields
from crm.content.models import ContentItem, ContentVersion, VersionState
from crm.content.render.fields import LANGUAGES, TRANSACTIONAL
from crm.content.render.source import LONGEST
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid

LARGEST = 256 * 1024  # bytes of an uploaded file
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){0,6}")


def path_of(key: str, language: str) -> str:
    """Return where an item's text in a language belongs, below `templates/`."""
    folder, _, name = key.partition("/")
    if folder == "email":
        return f"email/{name}/{language}.md"
    return f"content/{'blocks' if folder == 'block' else folder}/{name}.{language}.md"


def key_of(path: str) -> str:
    """Return the item that a file belongs to, by the last two parts of its path. Raises Invalid for any other name."""
    parts = PurePosixPath(path).parts
    if len(parts) >= 3 and parts[-3] == "email" and PurePosixPath(parts[-1]).stem in LANGUAGES:
        return f"email/{parts[-2]}"
    stem, _, language = PurePosixPath(path).stem.rpartition(".")
    if len(parts) < 2 or not stem or language not in LANGUAGES or not path.endswith(".md"):
        raise Invalid({"file": [f"{path}: a file is called folder/name.en.md, or email/kind/en.md."]})
    return f"{'block' if parts[-2] == 'blocks' else parts[-2]}/{stem}"


def name_of(version: ContentVersion) -> str:
    """Return what a downloaded file is called."""
    return f"{version.item.key.rpartition('/')[2]}.{version.language}.md"


def decode_upload(data: bytes) -> str:
    """Return an uploaded file as text, not a byte of it changed. Raises Invalid for what is no text of ours."""
    if len(data) > LARGEST:
        raise Invalid({"file": ["The file is larger than any email."]})
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid({"file": ["The file is not UTF-8 text."]}) from error
    if "\x00" in text or len(text) > LONGEST:
        raise Invalid({"file": [f"A text has at most {LONGEST:,} characters, and none of them is a zero."]})
    return text


def export_texts(*, drafts: bool = False) -> Iterator[tuple[str, bytes]]:
    """Yield (path, bytes) of the approved texts, or with `drafts` of the newest whatever their state."""
    rows = (
        select(ContentVersion)
        .join(ContentVersion.item)
        .ext(distinct_on(ContentItem.key, ContentVersion.language))
        .order_by(ContentItem.key, ContentVersion.language, ContentVersion.number.desc())
    )
    if not drafts:
        rows = rows.where(ContentVersion.state == VersionState.APPROVED)
    for version in db.session.scalars(rows):
        yield path_of(version.item.key, version.language), version.source.encode()


def import_text(text: str, *, key: str, actor: str) -> ContentVersion:
    """Make a file's text the draft of an item, to the byte; an item that is not there yet is made.

    An open draft says it from then on, and what it said before stays in its history. The very text that is there already
    is returned as it is. Raises Invalid when the file is of another kind, stream or language than the item.
    """
    parts = split_fields(text)
    if parts.language not in LANGUAGES:
        raise Invalid({"file": ["The file does not say its language: en or es."]})
    found = db.session.scalar(select(ContentItem).where(ContentItem.key == key))
    item = found or _made(key, parts)
    _same(item, parts)
    last = editor.newest(item.id, language=parts.language)
    if last is not None and last.source == text:
        return last
    if last is not None and last.state == VersionState.DRAFT:
        version = approval.get(last.id, lock=True)
        editor.replace_text(version, text, actor=actor)
    else:
        version = editor.create_draft(
            item, language=parts.language, text=text, number=(last.number if last else 0) + 1, author=actor
        )
    audit.record("content.imported", object_type="content_version", object_id=version.id)
    return version


def new_key(parts: Parts) -> str:
    """Return where a text belongs that comes without a place: a block under its name, an email among the clinic's own."""
    return f"block/{parts.name}" if parts.kind == "block" else editor.free_key(parts.purpose)


def new_block(*, name: str, language: str, actor: str) -> ContentVersion:
    """Begin a shared block. Raises Invalid for a name that is no name, Conflict for one that is taken."""
    tidy = "-".join(name.casefold().split())
    parts = Parts(kind="block", language=language, name=tidy, title=" ".join(name.split()), body="…")
    if db.session.scalar(select(ContentItem.id).where(ContentItem.key == f"block/{tidy}")) is not None:
        raise Conflict("There is a block with this name. Write a new version of it.")
    return import_text(build_source(parts), key=f"block/{tidy}", actor=actor)


def _made(key: str, parts: Parts) -> ContentItem:
    block = parts.kind == "block"
    if block and not _NAME.fullmatch(parts.name):
        raise Invalid(
            {"name": ["A block's name is made of small letters without accents, digits and hyphens."]}
        )
    kind = "block" if block else "transactional" if parts.stream in TRANSACTIONAL else "email"
    if block != key.startswith("block/") or (kind == "transactional") != key.startswith("email/"):
        raise Invalid({"file": [f"“{key}” is not the place for such a text."]})
    made = ContentItem(
        key=key,
        kind=kind,
        title=parts.name if block else parts.purpose or key,
        stream=None if block else parts.stream,
        created_at=clock.now(),
    )
    db.session.add(made)
    db.session.flush()
    return made


def _same(item: ContentItem, parts: Parts) -> None:
    if parts.kind == "block":
        wrong = item.kind != "block" or item.key != f"block/{parts.name}"
    else:
        wrong = item.kind == "block" or item.stream != parts.stream
    if wrong:
        raise Invalid(
            {"file": [f"The file is not a text of “{item.title}”: its kind, stream or name differs."]}
        )
