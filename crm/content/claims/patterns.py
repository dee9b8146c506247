"""The small language rules are written in, and how it is matched.

| written | means |
|---|---|
| `word` | that word, folded: no accents, no capitals; hyphens part words, contractions are opened (`isn't` = `is not`) |
| `stem*` | any word that begins so |
| `a|b|two_words` | one of these; `_` joins the words of one choice |
| `{LIST}` | any entry of that named list |
| `word?` | may be missing |
| `~3` | up to three words between, never over a colon, dash or semicolon |
| `^` `$` | the sentence begins, ends |
| `@number` `@age` `@year` | a number, one from 18 to 99, a year |
| `@name` `@first` | a word with a capital: inside the sentence, at its beginning |
| `this & that` | both stand in the sentence, in any order; the first is what gets underlined |

No regular expression runs over the text: words are looked up in tables, and every step moves forward, so time grows with length.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from crm.content.claims.sentences import BREAK, Sentence

Span = tuple[int, int]
Said = tuple[Span, ...]
Lists = Mapping[str, Sequence[str]]

_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*$")
_AGE = re.compile(r"(?:1[89]|[2-9][0-9])$")
_YEAR = re.compile(r"(?:19[5-9]|20[0-4])[0-9]$")


class BadPattern(ValueError):
    """A pattern that cannot be read; says which."""


class Match(NamedTuple):
    """Words `start` to `end` of a sentence; `said` are the spans the pattern names, so the rest are words in between."""

    start: int
    end: int
    said: Said


@dataclass(frozen=True, slots=True)
class Step:
    """One place in a pattern: which table of words, how many words may stand before it, and whether it may be missing."""

    words: int
    gap: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern: parts that must all be found, each a row of steps."""

    source: str
    parts: tuple[tuple[Step, ...], ...]
    at_start: bool
    at_end: bool


@dataclass(slots=True)
class Vocabulary:
    """Every choice of words that some pattern asks for, looked up by first word or by stem."""

    lists: Lists
    _ids: dict[tuple[str, ...], int] = field(default_factory=dict)
    _exact: dict[str, list[tuple[int, tuple[str, ...]]]] = field(default_factory=lambda: defaultdict(list))
    _stems: dict[str, list[tuple[int, tuple[str, ...]]]] = field(default_factory=lambda: defaultdict(list))
    _seen: dict[str, tuple[tuple[int, tuple[str, ...]], ...]] = field(default_factory=dict)

    def table(self, choice: str) -> int:
        """Return the number of the table for a choice such as `cure*|heals|{DRUG}`."""
        entries = tuple(sorted(set(self._entries(choice, depth=0))))
        known = self._ids.get(entries)
        if known is not None:
            return known
        number = self._ids[entries] = len(self._ids)
        for entry in entries:
            first, *rest = entry.split()
            where = self._stems if first.endswith("*") else self._exact
            where[first.rstrip("*")].append((number, tuple(rest)))
        return number

    def _entries(self, choice: str, depth: int) -> Iterable[str]:
        if depth > 6:
            raise BadPattern(f"lists that contain each other: {choice}")
        for entry in choice.split("|"):
            if not entry:
                raise BadPattern(f"an empty choice in: {choice}")
            if not entry.startswith("{"):
                yield entry.replace("_", " ")
                continue
            name = entry.strip("{}")
            if name not in self.lists:
                raise BadPattern(f"no list is called {name}")
            for line in self.lists[name]:
                yield from self._entries(line.replace(" ", "_"), depth + 1)

    def look_up(self, sentence: Sentence) -> dict[int, list[Span]]:
        """Return for each table found in the sentence the spans of words where it was found, first to last."""
        found: dict[int, list[Span]] = defaultdict(list)
        words = sentence.words
        for at, word in enumerate(words):
            for table, rest in self._hits(word):
                end = _follow(words, at + 1, rest) if rest else at + 1
                if end:
                    found[table].append((at, end))
            if sentence.names[at]:
                for table, _ in self._exact.get("@name" if at else "@first", ()):
                    found[table].append((at, at + 1))
        return found

    def _hits(self, word: str) -> tuple[tuple[int, tuple[str, ...]], ...]:
        known = self._seen.get(word)
        if known is None:
            hits = list(self._exact.get(word, ()))
            for length in range(1, min(len(word), 24) + 1):
                hits.extend(self._stems.get(word[:length], ()))
            if _NUMBER.match(word):
                hits.extend(self._exact.get("@number", ()))
            if _AGE.match(word):
                hits.extend(self._exact.get("@age", ()))
            if _YEAR.match(word):
                hits.extend(self._exact.get("@year", ()))
            if len(self._seen) > 20_000:
                self._seen.clear()
            known = self._seen[word] = tuple(hits)
        return known


def _follow(words: Sequence[str], at: int, rest: tuple[str, ...]) -> int:
    for wanted in rest:
        if at >= len(words):
            return 0
        stem = wanted.endswith("*")
        if not (words[at].startswith(wanted[:-1]) if stem else words[at] == wanted):
            return 0
        at += 1
    return at


def compile_pattern(source: str, vocabulary: Vocabulary) -> Pattern:
    """Read one pattern; raises BadPattern with the pattern in its message."""
    text = source.strip()
    at_start, at_end = text.startswith("^ "), text.endswith(" $")
    text = text.removeprefix("^ ").removesuffix(" $").strip()
    parts = tuple(_steps(part, vocabulary, source) for part in text.split(" & "))
    return Pattern(source=source, parts=parts, at_start=at_start, at_end=at_end)


def _steps(part: str, vocabulary: Vocabulary, source: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    gap = 0
    for piece in part.split():
        if piece.startswith("~"):
            gap = int(piece[1:])
            continue
        optional = piece.endswith("?")
        steps.append(Step(words=vocabulary.table(piece.removesuffix("?")), gap=gap, optional=optional))
        gap = 0
    if not steps or steps[0].optional or gap:
        raise BadPattern(f"must begin and end with a word: {source}")
    return tuple(steps)


def find(pattern: Pattern, sentence: Sentence, tables: Mapping[int, list[Span]]) -> list[Match]:
    """Return where the first part of the pattern stands, or nothing unless every part stands somewhere."""
    matches = _find_steps(pattern.parts[0], sentence.words, tables)
    if pattern.at_start:
        matches = [match for match in matches if match.start == 0]
    if pattern.at_end:
        matches = [match for match in matches if match.end == len(sentence.words)]
    if matches and all(_find_steps(part, sentence.words, tables) for part in pattern.parts[1:]):
        return matches
    return []


def _find_steps(
    steps: tuple[Step, ...], words: Sequence[str], tables: Mapping[int, list[Span]]
) -> list[Match]:
    first, *rest = steps
    if any(not step.optional and step.words not in tables for step in steps):
        return []
    found = []
    for span in tables[first.words]:
        said = _reach(span, rest, words, tables)
        if said:
            found.append(Match(start=span[0], end=said[-1][1], said=said))
    return found


def _reach(first: Span, rest: Sequence[Step], words: Sequence[str], tables: Mapping[int, list[Span]]) -> Said:
    """Return the spans that the steps take up, ending as near as they can; empty when they cannot all be found."""
    ways: dict[int, Said] = {first[1]: (first,)}
    gap = 0
    for step in rest:
        gap += step.gap
        onward = _next(ways, step, gap, words, tables)
        if step.optional:
            ways = onward | ways
        else:
            ways, gap = onward, 0
        if not ways:
            return ()
    return ways[min(ways)]


def _next(
    ways: Mapping[int, Said], step: Step, gap: int, words: Sequence[str], tables: Mapping[int, list[Span]]
) -> dict[int, Said]:
    came: dict[int, Said] = {}
    for place, said in ways.items():
        for start in _window(place, gap, words):
            came.setdefault(start, said)
    return {end: (*came[start], (start, end)) for start, end in tables.get(step.words, ()) if start in came}


def _window(place: int, gap: int, words: Sequence[str]) -> Iterable[int]:
    """Yield where the next word may begin: commas do not count, a break ends the window."""
    skipped = 0
    while place < len(words):
        yield place
        if words[place] == BREAK:
            return
        if words[place] != ",":
            skipped += 1
            if skipped > gap:
                return
        place += 1
