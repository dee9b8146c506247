"""House style check: words and names this project does not use, as file:line.

python -m tests.words [folder or file ...]     `tests/words.toml` holds the rules; exit status 1 when one is broken

One term per thing keeps a name findable. Patient-facing texts and approved content are not read:
they have reviewers of their own.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULES: dict[str, list[list[str]]] = tomllib.loads((ROOT / "tests" / "words.toml").read_text())

# Texts with reviewers of their own, what must not change, and this check.
EXCLUDED = re.compile(
    r"templates/(content|email|public)/|crm/(consent|intake|portal)/texts\.py|crm/consent/consent_texts\.py"
    r"|crm/migrations/|crm/translations/|tests/content/corpus/|requirements|tests/words|tests/architecture/test_words|LICENSE"
)
# Their strings are data: what a person might write. Docstrings and comments are read.
DATA = re.compile(r"tests/|crm/content/claims/|crm/leads/crisis_words\.py")
PROSE = {".md", ".html", ".txt", ".js", ".css", ".yaml", ".yml", ".toml", ".cfg", ""}
LONGEST_TEST_NAME = 65

# A quick look before the patterns one by one: in lowercase, and only where words begin.
_ANY = re.compile(r"\b(?:" + "|".join(rule[0].removeprefix(r"\b") for rule in RULES["text"]) + ")")
_NAMES = dict(RULES["names"])
_MODULES = dict(RULES["modules"])
_LABELS = dict(RULES["labels"])
_LABEL = re.compile(r"""(?<=['">])(""" + "|".join(map(re.escape, _LABELS)) + r""")(?=['"<])""")
_DEFINED = re.compile(r"^ *(?:async )?(?:def|class) (\w+)", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s)#\s(.*)$")
_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True, order=True)
class Finding:
    """One word to replace."""

    path: str
    line: int
    found: str
    say: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: “{self.found}”: say {self.say}"


def main(arguments: list[str]) -> int:
    """Print every finding in the given folders, or in the whole tree; return 1 if any."""
    found = sorted(
        finding
        for path in _paths(arguments)
        for finding in check(path, (ROOT / path).read_text(errors="replace"))
    )
    for finding in found:
        print(finding)
    if found:
        print(f"{len(found)} to fix; tests/words.toml says why and what to write instead.")
    return 1 if found else 0


def check(path: str, source: str) -> Iterator[Finding]:
    """Yield what one file says that it should not."""
    python = path.endswith(".py")
    if python:
        yield from _in_names(path, source)
    if not path.startswith("tests/"):
        yield from _in_labels(path, source)
    if python and not _suspicious(source.replace("_", " ") if path.startswith("tests/") else source):
        return
    for line, text in (
        _python_texts(source, own_words=not DATA.match(path)) if python else _lines(path, source)
    ):
        yield from _in_text(path, line, text)


def _paths(arguments: list[str]) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *arguments],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    wanted = (path for path in listed if Path(path).suffix in PROSE | {".py"} and not EXCLUDED.match(path))
    return [path for path in wanted if (ROOT / path).is_file()]


def _suspicious(text: str) -> bool:
    return _ANY.search(text.lower()) is not None


def _in_text(path: str, line: int, text: str) -> Iterator[Finding]:
    if not _suspicious(text):
        return
    for pattern, say, *_ in RULES["text"]:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            yield Finding(path, line + text.count("\n", 0, match.start()), match[0], say)


def _in_names(path: str, source: str) -> Iterator[Finding]:
    stem = Path(path).parent.name if path.endswith("__init__.py") else Path(path).stem
    if path.startswith(("crm/", "tests/support/", "tests/chaos/")) and stem in _MODULES:
        yield Finding(path, 1, stem, _MODULES[stem])
    for match in _DEFINED.finditer(source):
        name, line = match[1], source.count("\n", 0, match.start()) + 1
        if name in _NAMES and not path.startswith("tests/"):
            yield Finding(path, line, name, _NAMES[name])
        if name.startswith("test_") and len(name) > LONGEST_TEST_NAME:
            yield Finding(path, line, name, f"it in {LONGEST_TEST_NAME} letters, this has {len(name)}")


def _in_labels(path: str, source: str) -> Iterator[Finding]:
    for match in _LABEL.finditer(source):
        yield Finding(path, source.count("\n", 0, match.start()) + 1, match[0], _LABELS[match[0]])


def _lines(path: str, source: str) -> Iterator[tuple[int, str]]:
    fenced = False
    for number, line in enumerate(source.splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        yield number, line if fenced or not path.endswith(".md") else _CODE.sub("``", line)


def _python_texts(source: str, *, own_words: bool) -> Iterator[tuple[int, str]]:
    """Yield docstrings, comments, names of tests and, if `own_words`, every other string; not code."""
    lines = source.splitlines()
    for number, line in enumerate(lines, 1):
        if comment := _COMMENT.search(line):
            yield number, comment[1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if own_words or lines[node.lineno - 1].lstrip().startswith('"""'):
                yield node.lineno, node.value
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
