"""Email content as a text file: front matter in YAML, then a Markdown body. Reads it, and says exactly what cannot be used.

Two things stand on a line of their own in a body: `[[block: off-label]]` inserts a shared block, and
`[[button: Words on it | preferences_url]]` makes a button. `{{ first_name }}` is a merge field.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from crm.content.render.fields import (
    COMMERCIAL,
    LANGUAGES,
    PAGE,
    STREAMS,
    TRANSACTIONAL,
    URL_FIELDS,
    ContentError,
    allowed_fields,
    check_fields,
)

__all__ = [
    "COMMERCIAL",
    "LANGUAGES",
    "PAGE",
    "STREAMS",
    "TRANSACTIONAL",
    "URL_FIELDS",
    "Block",
    "BlockRef",
    "Button",
    "Claim",
    "ContentError",
    "Prose",
    "Source",
    "parse",
    "parse_block",
]

LONGEST = 60_000
_FRONT = re.compile(r"\A---\r?\n(.*?\r?\n)---[ \t]*\r?\n(.*)\Z", re.DOTALL)
_LINE = re.compile(
    r"^\[\[[ \t]*(block|button)[ \t]*:[ \t]*([^\[\]\r\n]{1,200}?)[ \t]*\]\][ \t]*$", re.MULTILINE
)
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_AUTHORIZATION = re.compile(r"T-[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of fact as it stands in the body, and the full citation it rests on."""

    id: str
    claim: str
    source: str


@dataclass(frozen=True, slots=True)
class Prose:
    """Markdown between the blocks and buttons."""

    markdown: str


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A place where a shared block is inserted."""

    name: str


@dataclass(frozen=True, slots=True)
class Button:
    """A call to action that leads to a URL field."""

    label: str
    field: str


@dataclass(frozen=True, slots=True)
class Source:
    """One email (or page) in one language. `text` is the file as it was given, so that export is the same to the byte."""

    text: str
    subject: str
    preheader: str
    purpose: str
    stream: str
    language: str
    claims: tuple[Claim, ...]
    blocks: tuple[str, ...]
    cta: str | None
    why: str
    testimonial: str  # the written authorization that its quoted words rest on: "T-7"
    body: str

    @property
    def transactional(self) -> bool:
        """Whether it answers something the person did, and so carries no unsubscribe link."""
        return self.stream in TRANSACTIONAL

    @property
    def parts(self) -> tuple[Prose | BlockRef | Button, ...]:
        """The body cut at its blocks and buttons, in order."""
        return tuple(_parts(self.body))


@dataclass(frozen=True, slots=True)
class Block:
    """A shared piece of text. `words` holds the few labels a footer gives to the layout."""

    text: str
    name: str
    language: str
    title: str
    claims: tuple[Claim, ...]
    words: Mapping[str, str]
    body: str


def parse(text: str) -> Source:
    """Read an email or page; raises ContentError naming the front matter key (or `body`) that is wrong."""
    meta, body = _split(text)
    _only(meta, Source.__slots__)
    stream = _choice(meta, "stream", STREAMS)
    source = Source(
        text=text,
        subject=_line(meta, "subject"),
        preheader=_line(meta, "preheader"),
        purpose=_line(meta, "purpose"),
        stream=stream,
        language=_choice(meta, "language", frozenset(LANGUAGES)),
        claims=_claims(meta),
        blocks=_names(meta, "blocks"),
        cta=_cta(meta),
        why=_line(meta, "why", needed=stream in TRANSACTIONAL),
        testimonial=_testimonial(meta, stream=stream),
        body=body,
    )
    for name in ("subject", "preheader", "why", "body"):
        check_fields(getattr(source, name), stream=stream, where=name)
    _check_parts(source)
    return source


def parse_block(text: str) -> Block:
    """Read a shared block; raises ContentError."""
    meta, body = _split(text)
    _only(meta, ("block", *Block.__slots__))
    words = meta.get("words", {})
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise ContentError("words", "must be names with a text each.")
    block = Block(
        text=text,
        name=_line(meta, "block"),
        language=_choice(meta, "language", frozenset(LANGUAGES)),
        title=_line(meta, "title", needed=False),
        claims=_claims(meta),
        words=words,
        body=body,
    )
    if any(not isinstance(part, Prose) for part in _parts(body)):
        raise ContentError("body", "A block cannot hold another block or a button.")
    check_fields(body, stream=None, where="body")
    return block


def _split(text: str) -> tuple[Mapping[str, Any], str]:
    if len(text) > LONGEST:
        raise ContentError("body", f"Longer than {LONGEST:,} characters.")
    found = _FRONT.match(text)
    if not found:
        raise ContentError(
            "front matter", "The file must begin with a line ---, the front matter, and a line ---."
        )
    try:
        meta = yaml.load(found[1], Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ContentError("front matter", f"Not readable as YAML: {_first_line(error)}") from error
    if not isinstance(meta, dict):
        raise ContentError("front matter", "Must be names with a value each.")
    body = found[2].replace("\r\n", "\n")
    if not body.strip():
        raise ContentError("body", "There is no text.")
    return meta, body


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _only(meta: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in meta:
        if key not in known or key in ("text", "body", "name"):
            raise ContentError(str(key), "is not a front matter key that is known here.")


def _line(meta: Mapping[str, Any], key: str, *, needed: bool = True) -> str:
    value = meta.get(key, "")
    if not isinstance(value, str) or re.search(r"[\x00-\x1f\x7f\u2028\u2029]", value.strip()):
        raise ContentError(key, "must be one line of text.")
    if needed and not value.strip():
        raise ContentError(key, "is missing.")
    return value.strip()


def _choice(meta: Mapping[str, Any], key: str, choices: frozenset[str]) -> str:
    value = meta.get(key)
    if value not in choices:
        raise ContentError(key, f"must be one of: {', '.join(sorted(choices))}.")
    return str(value)


def _names(meta: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = meta.get(key) or []
    if not isinstance(value, list) or not all(isinstance(one, str) and _NAME.fullmatch(one) for one in value):
        raise ContentError(key, "must be a list of names, such as off-label.")
    return tuple(value)


def _cta(meta: Mapping[str, Any]) -> str | None:
    value = meta.get("cta")
    if value is not None and value not in URL_FIELDS:
        raise ContentError("cta", f"must be one of: {', '.join(sorted(URL_FIELDS))}.")
    return value


def _testimonial(meta: Mapping[str, Any], *, stream: str) -> str:
    named = _line(meta, "testimonial", needed=False)
    if named and not _AUTHORIZATION.fullmatch(named):
        raise ContentError("testimonial", "must name a written authorization, such as T-7.")
    if named and stream not in COMMERCIAL:
        raise ContentError("testimonial", "A patient's words may stand in educational emails only.")
    return named


def _claims(meta: Mapping[str, Any]) -> tuple[Claim, ...]:
    value = meta.get("claims") or []
    if not isinstance(value, list):
        raise ContentError("claims", "must be a list.")
    return tuple(_claim(raw) for raw in value)


def _claim(raw: Any) -> Claim:
    if not isinstance(raw, dict) or set(raw) != set(Claim.__slots__):
        raise ContentError("claims", "Each claim needs id, claim and source, and nothing else.")
    if not all(isinstance(part, str) and part.strip() for part in raw.values()):
        raise ContentError("claims", "The id, claim and source of a claim are texts.")
    return Claim(**{name: " ".join(part.split()) for name, part in raw.items()})


def _parts(body: str) -> Iterator[Prose | BlockRef | Button]:
    at = 0
    for found in _LINE.finditer(body):
        yield from _prose(body[at : found.start()])
        yield BlockRef(found[2]) if found[1] == "block" else _button(found[2])
        at = found.end()
    yield from _prose(body[at:])


def _prose(markdown: str) -> Iterator[Prose]:
    if "[[" in markdown:
        raise ContentError(
            "body", "[[...]] must be a block or a button, alone on its line: [[block: off-label]]."
        )
    if markdown.strip():
        yield Prose(markdown.strip("\n"))


def _button(inside: str) -> Button:
    label, bar, field = (part.strip() for part in inside.partition("|"))
    if not bar or not label or field not in URL_FIELDS:
        raise ContentError(
            "body", f"A button is [[button: Words on it | field]], the field one of {sorted(URL_FIELDS)}."
        )
    return Button(label=label, field=field)


def _check_parts(source: Source) -> None:
    _check_blocks(source, [part.name for part in source.parts if isinstance(part, BlockRef)])
    _check_buttons(source, [part.field for part in source.parts if isinstance(part, Button)])


def _check_blocks(source: Source, names: Sequence[str]) -> None:
    for name in source.blocks:
        if name not in names:
            raise ContentError(
                "blocks", f"The block “{name}” is required but not in the text: add [[block: {name}]]."
            )


def _check_buttons(source: Source, buttons: list[str]) -> None:
    for field in buttons:
        if field not in allowed_fields(source.stream):
            raise ContentError("body", f"A button may not lead to {field} in {source.stream} mail.")
    if source.stream != PAGE and buttons != ([source.cta] if source.cta else []):
        raise ContentError("cta", "There must be exactly one button, and it must lead where cta says.")
