"""What a reviewer reads: the new words beside the old, sentence by sentence. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from crm.content.claims.sentences import sentences, supports
from crm.content.editor.form_codec import Parts, Statement

Marked = Sequence[tuple[bool, str]]  # pieces of a sentence, and whether each is only on this side

_OWN_LINE = re.compile(r"^(\[\[.*\]\])[ \t]*$", re.MULTILINE)
_LETTER = re.compile(r"[^\W_]{2,}|[^\W\d_]")
_WRAPPED = re.compile(
    r"(?<![\\\n])\n(?![ \t]*(?:[-*+>#\n]|\d+\.))"
)  # a line break that a reader does not see
_WORDS = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sentence: `kind` is same, changed, added or removed. `part` names what it belongs to, for the first of it."""

    kind: str
    part: str
    then: Marked
    now: Marked

    @property
    def sentence(self) -> str:
        """The sentence as it reads now, or read before it was removed."""
        return "".join(text for _, text in (self.now or self.then))


def compare(then: Parts | None, now: Parts) -> list[Row]:
    """Return all sentences of the new text against the old one's; without an old one all are new."""
    before, after = labeled_sentences(then) if then else [], labeled_sentences(now)
    old, new = [text for _, text in before], [text for _, text in after]
    rows: list[Row] = []
    for verb, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if verb == "equal":
            rows += [_row("same", part, text, text) for part, text in after[c:d]]
        else:
            rows += _pairs(before[a:b], after[c:d])
    return rows


def side_by_side(first: Parts, second: Parts) -> list[tuple[str, str, str]]:
    """Return (part, text, text in the other language), paragraph by paragraph; what has no counterpart stands alone."""
    heads = ("subject", "preheader", "title", "why")
    rows = [(name, getattr(first, name), getattr(second, name)) for name in heads]
    left, right = _paragraphs(first.body), _paragraphs(second.body)
    steps = SequenceMatcher(
        a=[_shape(text) or "prose" for text in left], b=[_shape(text) for text in right], autojunk=False
    ).get_opcodes()
    for _, a, b, c, d in steps:
        rows += [("body", one, other) for one, other in zip_longest(left[a:b], right[c:d], fillvalue="")]
    return [row for row in rows if row[1] or row[2]]


def _paragraphs(body: str) -> list[str]:
    return [_WRAPPED.sub(" ", text.strip()) for text in re.split(r"\n\s*\n", body) if text.strip()]


def _shape(paragraph: str) -> str:
    """What a paragraph is, whatever its language: a certain block, a button, a heading or a list; nothing for prose."""
    if paragraph.startswith("[["):
        return paragraph if paragraph.startswith("[[block") else "button"
    if paragraph.startswith("#"):
        return "heading"
    items = sum(line.lstrip().startswith(("-", "*")) for line in paragraph.splitlines())
    return f"list of {items}" if items > 1 else ""


def sources_by_sentence(sentences: Iterable[str], parts: Parts) -> dict[str, list[Statement]]:
    """Return sentence -> the claims in it, each with its source."""
    found: dict[str, list[Statement]] = {}
    for sentence in sentences:
        stated = [one for one in parts.claims if supports(one.claim, sentence)]
        if stated:
            found[sentence] = stated
    return found


def labeled_sentences(parts: Parts) -> list[tuple[str, str]]:
    """Return (part, sentence) of everything a reader or reviewer sees of a text."""
    head = [(name, getattr(parts, name)) for name in ("subject", "preheader", "title", "why")]
    found = [(name, text) for name, text in head if text]
    found += [("body", text) for text in _sentences(parts.body)]
    found += [(f"word: {name}", word) for name, word in parts.words.items()]
    return found + [("source", f"{one.claim} — {one.source}") for one in parts.claims]


def _sentences(body: str) -> Iterator[str]:
    for number, piece in enumerate(_OWN_LINE.split(body)):
        if number % 2:
            yield piece
        else:
            yield from _cut(piece)


def _cut(text: str) -> Iterator[str]:
    """Cut a text before each sentence, losing nothing: marks, links and merge fields belong to the sentence they stand at."""
    starts = [_begin(text, one.start) for one in sentences(text)]
    for start, end in (
        zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True) if starts else [(0, len(text))]
    ):
        if said := " ".join(text[start:end].split()):
            yield said


def _begin(text: str, start: int) -> int:
    """Move a beginning back over the quotation mark, or the mark of a list or heading, before the first word."""
    line = text.rfind("\n", 0, start) + 1
    if not _LETTER.search(text, line, start):
        return line
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    return start


def _pairs(before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]) -> Iterator[Row]:
    for was, comes in zip_longest(before, after):
        if comes is None:
            yield _row("removed", was[0], was[1], "")
        elif was is None:
            yield _row("added", comes[0], "", comes[1])
        elif was[0] == comes[0]:
            yield _row("changed", comes[0], was[1], comes[1])
        else:
            yield from (_row("removed", was[0], was[1], ""), _row("added", comes[0], "", comes[1]))


def _row(kind: str, part: str, then: str, now: str) -> Row:
    if kind != "changed":
        return Row(
            kind=kind, part=part, then=[(False, then)] if then else [], now=[(False, now)] if now else []
        )
    old, new = _WORDS.findall(then), _WORDS.findall(now)
    steps = SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    return Row(
        kind=kind,
        part=part,
        then=_marked((verb != "equal", old[a:b]) for verb, a, b, _, _ in steps),
        now=_marked((verb != "equal", new[c:d]) for verb, _, _, c, d in steps),
    )


def _marked(pieces: Iterable[tuple[bool, Sequence[str]]]) -> Marked:
    return [(only_here, "".join(words)) for only_here, words in pieces if words]
