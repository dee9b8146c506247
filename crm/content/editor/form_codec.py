"""A content file as the fields of a form, and back: the text is the truth, the form only a way to write it.

What the form does not change comes out byte for byte as it went in, so that content made in the console and content kept
in files are one thing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replace
from typing import Any

import orjson
import yaml

from crm.content.render.fields import PAGE, ContentError

_FRONT = re.compile(r"\A---\r?\n(.*?\r?\n)---[ \t]*\r?\n(.*)\Z", re.DOTALL)
_BUTTON = re.compile(
    r"^\[\[[ \t]*button[ \t]*:[^|\[\]\n]*\|[ \t]*([a-z_]{1,40})[ \t]*\]\][ \t]*$", re.MULTILINE
)
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Statement:
    """One claim and its source, as typed."""

    id: str
    claim: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The fields of a content file. `kind` is email or block; a block has a name, a title and words, no subject."""

    kind: str
    language: str
    body: str
    stream: str = ""
    subject: str = ""
    preheader: str = ""
    purpose: str = ""
    why: str = ""
    cta: str = ""
    testimonial: str = ""
    name: str = ""
    title: str = ""
    blocks: tuple[str, ...] = ()
    claims: tuple[Statement, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)


def split_fields(text: str) -> Parts:
    """Return the fields of a file; raises ContentError when it has no readable front matter."""
    meta, body = _front_matter(text)
    return Parts(
        kind="block" if "block" in meta else "email",
        body=body.replace("\r\n", "\n").removeprefix("\n"),
        name=_text(meta, "block"),
        **{field: _text(meta, field) for field in _TEXT_FIELDS},
        blocks=tuple(str(name) for name in meta.get("blocks") or ()),
        claims=tuple(_statement(raw) for raw in meta.get("claims") or () if isinstance(raw, dict)),
        words={str(name): str(word) for name, word in (meta.get("words") or {}).items()},
    )


_TEXT_FIELDS = ("language", "stream", "subject", "preheader", "purpose", "why", "cta", "testimonial", "title")


def _front_matter(text: str) -> tuple[dict[Any, Any], str]:
    found = _FRONT.match(text)
    if found is not None:
        try:
            meta = yaml.load(found[1], Loader=yaml.CSafeLoader)
        except yaml.YAMLError as error:
            raise ContentError("front matter", "Not readable as YAML.") from error
        if isinstance(meta, dict):
            return meta, found[2]
    raise ContentError("front matter", "The file must begin with its front matter between two lines ---.")


def build_source(parts: Parts, *, before: str | None = None) -> str:
    """Return the file. With the file it was made from (`before`), an unchanged form gives that very file."""
    parts = replace(parts, body=_body(parts.body), cta=_lead(parts))
    if before is not None and (then := _try(before)) is not None:
        if replace(then, body=_body(then.body), cta=_lead(then)) == parts:
            return before
        if replace(then, body="", cta="") == replace(parts, body="", cta="") and then.cta == parts.cta:
            return before[: _start(before)] + "\n" + parts.body
    head = _block_front(parts) if parts.kind == "block" else _front(parts)
    return "---\n" + "\n".join(head) + "\n---\n\n" + parts.body


def _try(text: str) -> Parts | None:
    try:
        return split_fields(text)
    except ContentError:
        return None


def _start(text: str) -> int:
    found = _FRONT.match(text)
    return found.start(2) if found else 0


def _front(parts: Parts) -> list[str]:
    lines = [f"{name}: {_quoted(getattr(parts, name))}" for name in ("subject", "preheader", "purpose")]
    lines += [f"stream: {parts.stream}", f"language: {parts.language}"]
    if parts.why:
        lines.append(f"why: {_quoted(parts.why)}")
    if parts.testimonial:
        lines.append(f"testimonial: {parts.testimonial}")
    lines += [*_claims(parts.claims), f"blocks: [{', '.join(parts.blocks)}]"]
    return [*lines, f"cta: {parts.cta}"] if parts.cta else lines


def _block_front(parts: Parts) -> list[str]:
    lines = [f"block: {parts.name}", f"language: {parts.language}"]
    if parts.title:
        lines.append(f"title: {_quoted(parts.title)}")
    lines += _claims(parts.claims)
    if parts.words:
        lines += ["words:", *(f"  {name}: {_quoted(word)}" for name, word in parts.words.items())]
    return lines


def _claims(claims: Iterable[Statement]) -> list[str]:
    lines = [
        line
        for one in claims
        for line in (
            f"  - id: {one.id}",
            f"    claim: {_quoted(one.claim)}",
            f"    source: {_quoted(one.source)}",
        )
    ]
    return ["claims:", *lines] if lines else ["claims: []"]


def _quoted(text: str) -> str:
    """Return the text as one line in double quotes; JSON's quoting is YAML's too."""
    return orjson.dumps(_SPACES.sub(" ", text).strip()).decode()


def _body(body: str) -> str:
    return body.replace("\r\n", "\n").strip("\n") + "\n"


def _lead(parts: Parts) -> str:
    """Return where the one button leads; with none or several, what was said before."""
    if parts.kind == "block" or parts.stream == PAGE:
        return ""
    found = _BUTTON.findall(parts.body)
    return found[0] if len(found) == 1 else parts.cta if found else ""


def _text(meta: Mapping[Any, Any], key: str) -> str:
    value = meta.get(key)
    return "" if value is None else str(value).strip()


def _statement(raw: Mapping[Any, Any]) -> Statement:
    return Statement(
        *(_SPACES.sub(" ", str(raw.get(name) or "")).strip() for name in ("id", "claim", "source"))
    )


def tidy_id(text: str, *, taken: Iterable[str], number: int) -> str:
    """Return a name for a new claim, made from its first words."""
    words = re.findall(r"[a-z0-9]+", text.lower())[:3]
    name = "-".join(words) or f"claim-{number}"
    return name if name not in set(taken) else f"{name}-{number}"
