"""How well the rules tell good sentences from bad ones: precision and recall over lines with known verdicts.

A line is `{"id", "lang", "where", "text", "expect"}`; `expect` names the rules that must find something, none for a sentence that
is fine. `before` may hold the sentence that it answers or continues. A sentence counts as flagged when at least one finding is
not a WARN.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from crm.content.claims.engine import Finding
from crm.content.claims.judge import check
from crm.content.claims.rulebook import Severity


class Line(NamedTuple):
    """One sentence and what is known about it; `expect` is None when nobody said."""

    id: str | int
    language: str
    where: str
    text: str
    expect: tuple[str, ...] | None
    before: str = ""


class BadLine(ValueError):
    """A line of a corpus that cannot be used; the message says which and why."""


@dataclass(slots=True)
class Score:
    """Counts of right and wrong verdicts, and which lines were wrong."""

    caught: int = 0
    passed: int = 0
    false_alarms: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Share of flagged lines that deserved it; 1.0 when none was flagged."""
        flagged = self.caught + len(self.false_alarms)
        return self.caught / flagged if flagged else 1.0

    @property
    def recall(self) -> float:
        """Share of bad lines that were flagged; 1.0 when there are none."""
        bad = self.caught + len(self.missed)
        return self.caught / bad if bad else 1.0

    def count(self, line_id: str, *, flagged: bool, bad: bool) -> None:
        """Add one verdict."""
        if bad and flagged:
            self.caught += 1
        elif bad:
            self.missed.append(line_id)
        elif flagged:
            self.false_alarms.append(line_id)
        else:
            self.passed += 1


def read_lines(path: Path) -> list[Line]:
    """Read a `.jsonl` file; raises BadLine with the number of the first line that cannot be used, UnicodeDecodeError, OSError."""
    rows = path.read_bytes().decode("utf-8-sig").split("\n")  # other separators may stand inside a text
    lines = [_line(path, number, row) for number, row in enumerate(rows, start=1) if row.strip()]
    if not lines:
        raise BadLine(f"{path}: the file is empty.")
    return lines


def _line(path: Path, number: int, row: str) -> Line:
    place = f"{path}, line {number}"
    try:
        raw: Any = orjson.loads(row)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"{place}: not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise BadLine(f"{place}: must be an object with id, lang, where and text.")
    raw = {"where": "body", "id": number, "expect": None, "before": ""} | raw
    for is_right, wrong in _FIELDS:
        if not is_right(raw):
            raise BadLine(f"{place}: {wrong.format_map(defaultdict(str, raw))}")
    known = None if raw["expect"] is None else tuple(raw["expect"])
    return Line(raw["id"], raw["lang"], raw["where"], raw["text"], known, raw["before"])


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_FIELDS: Sequence[
    tuple[Callable[[dict[str, Any]], bool], str]
] = (  # what a line needs, and the error without it
    (lambda raw: isinstance(raw["id"], str | int), "id must be a string or a number."),
    (lambda raw: isinstance(raw.get("text"), str), "text must be a string."),
    (lambda raw: isinstance(raw["before"], str), "before must be a string."),
    (lambda raw: raw.get("lang") in ("en", "es"), "lang must be en or es, not {lang!r}."),
    (lambda raw: raw["where"] in ("body", "subject"), "where must be body or subject, not {where!r}."),
    (
        lambda raw: raw["expect"] is None or _is_list_of_texts(raw["expect"]),
        "expect must be a list of rule ids.",
    ),
)


def check_line(line: Line) -> list[Finding]:
    """Return what the check says about a line, read after the sentence before it."""
    if not line.before:
        return check(line.text, language=line.language, where=line.where)
    text = f"{line.before}\n{line.text}"
    return [
        one for one in check(text, language=line.language, where=line.where) if one.start > len(line.before)
    ]


def measure(lines: Iterable[Line]) -> dict[str, Score]:
    """Return scores: `all`, one per language and place (`en`, `en subject`...), and one per rule.

    A rule catches a line that expects it when it finds something there; its false alarms are findings on lines that are fine.
    """
    scores: dict[str, Score] = defaultdict(Score)
    for line in lines:
        if line.expect is None:
            continue
        found = check_line(line)
        blocking = {one.id for one in found if one.severity is not Severity.WARN}
        for name in ("all", line.language, f"{line.language} {line.where}"):
            scores[name].count(str(line.id), flagged=bool(blocking), bad=bool(line.expect))
        for rule in blocking | set(line.expect):
            if rule in line.expect or not line.expect:
                scores[f"rule {rule}"].count(str(line.id), flagged=rule in blocking, bad=bool(line.expect))
    return dict(scores)
