"""What the reader learns from: the labeled corpora, and the sentences of the shipped texts, which two people approved."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from crm.content.claims.corpus import Line, read_lines
from crm.content.claims.sentences import sentences
from crm.content.claims.units import Unit, units
from crm.content.render.source import Block, Source, parse, parse_block

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT / "tests" / "content" / "corpus"
BEFORE = "front-desk-billing-and-portal"  # the file whose sentences stand before copies
ENVELOPE = frozenset({"envelope-topic", "envelope-length", "envelope-break"})  # decided by rules alone


class Example(NamedTuple):
    """One unit, what it claims (nothing: it is fine), and the file it came from. `copied`: made from another for training."""

    unit: Unit
    language: str
    kinds: tuple[str, ...]
    file: str
    copied: bool = False


def corpus_files(*, blind: bool = False) -> list[Path]:
    """Return the files of the corpus: those to learn from, or the blind sets."""
    return sorted(path for path in CORPUS.glob("*.jsonl") if path.name.startswith("blind-") is blind)


def examples() -> list[Example]:
    """Return everything to learn from, without the blind sets."""
    found = [one for path in corpus_files() for line in read_lines(path) for one in of_line(line, path.stem)]
    return [*found, *shipped()]


def of_line(line: Line, file: str) -> Iterator[Example]:
    """Yield a line as it stands, and its answer alone where it is a question with an answer."""
    kinds = tuple(kind for kind in line.expect or () if kind not in ENVELOPE)
    if line.expect and not kinds:
        return
    yield Example(Unit(line.text, line.before, line.where), line.language, kinds, file)
    parts = sentences(line.text)
    if len(parts) == 2 and parts[0].asks and not line.before:
        yield Example(Unit(parts[1].text, parts[0].text, line.where), line.language, kinds, file)


def shipped() -> Iterator[Example]:
    """Yield the sentences of every shipped text, once."""
    seen = set()
    for path in sorted((ROOT / "templates").rglob("*.md")):
        text = path.read_text("utf-8")
        is_block = "\nblock:" in text.partition("\n---")[0]
        source = parse_block(text) if is_block else parse(text)
        for where, part in _parts(source):
            for _, unit in units(part, where=where):
                if unit not in seen:
                    seen.add(unit)
                    yield Example(unit, source.language, (), f"shipped: {path.parent.name}")


def _parts(source: Source | Block) -> Iterator[tuple[str, str]]:
    yield "body", source.body
    for name in ("subject", "preheader", "why"):
        yield ("body" if name == "why" else "subject"), str(getattr(source, name, "") or "")


def with_context(found: Iterable[Example]) -> list[Example]:
    """Return copies of sentences that look back ("It ..."), each after one that means nothing, so that it excuses nothing."""
    every = list(found)
    plain = [
        one for one in every if one.file == BEFORE and not one.unit.before and one.unit.text.endswith(".")
    ]
    by_language = {name: [one.unit.text for one in plain if one.language == name] for name in ("en", "es")}
    copies = []
    for one in every:
        if one.unit.before or one.unit.where != "body" or not _looks_back(one.unit.text):
            continue
        choice = by_language[one.language]
        before = choice[crc32(one.unit.text.encode()) % len(choice)]
        copies.append(one._replace(unit=one.unit._replace(before=before), copied=True))
    return copies


def _looks_back(text: str) -> bool:
    words = text.lower().split()
    return len(words) < 5 or words[0] in (
        "it",
        "this",
        "they",
        "that",
        "these",
        "esto",
        "lo",
        "le",
        "ella",
        "es",
        "no",
    )
