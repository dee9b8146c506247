"""The rules of the claims check, read from `templates/content/claims.yaml` and compiled once per language."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from crm.content.claims.patterns import BadPattern, Pattern, Vocabulary, compile_pattern

RULES = Path(__file__).parents[3] / "templates" / "content" / "claims.yaml"
LANGUAGES = ("en", "es")
WORD_SETS = ("askers", "affirmations", "denials", "yes_or_no", "readers")


class Severity(StrEnum):
    """BLOCK: may not go out. REQUIRE: something is missing. ASK: a reviewer must answer. WARN: a person should look."""

    BLOCK = "BLOCK"
    ASK = "ASK"
    REQUIRE = "REQUIRE"
    WARN = "WARN"


class BadRules(ValueError):
    """The rules file is wrong; says where and how."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Words that excuse a match: anywhere in the sentence, or (`window` > 0) at most that many words before its end."""

    name: str
    window: int
    patterns: tuple[Pattern, ...]
    not_these: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule in one language. `where` is `any`, `body` or `subject`; `denied`: claims if a question is answered with no."""

    id: str
    title: str
    severity: Severity
    why: str
    source: str
    suggestion: str
    where: str
    unless: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    exceptions: tuple[Pattern, ...]
    denied: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Book:
    """All rules of one language. `by_table` leads from a table of words to the patterns that begin with it."""

    language: str
    vocabulary: Vocabulary
    rules: tuple[Rule, ...]
    guards: Mapping[str, Guard]
    breaks: tuple[Pattern, ...]
    askers: frozenset[str]
    affirmations: frozenset[str]
    denials: frozenset[str]
    yes_or_no: frozenset[str]
    readers: frozenset[str]
    denied: Sequence[tuple[int, Pattern]]
    by_table: Mapping[int, Sequence[tuple[int, Pattern]]]

    def rule(self, rule_id: str) -> Rule:
        """Return the rule with that id; raises KeyError when there is none."""
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise KeyError(rule_id)


@lru_cache(maxsize=8)
def rulebook(language: str, path: Path = RULES) -> Book:
    """Return the compiled rules of a language; raises BadRules with what is wrong in the file."""
    try:
        return compile_rules(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader), language)
    except (BadPattern, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise BadRules(f"{path.name}: {type(error).__name__}: {error}") from error


def compile_rules(data: Mapping[str, Any], language: str) -> Book:
    """Compile the parsed file for one language; raises ValueError or KeyError for what cannot be used."""
    vocabulary = Vocabulary(lists={name: _choices(raw) for name, raw in data["lists"][language].items()})
    compiler = _Compiler(vocabulary, language)
    guards = {name: compiler.guard(name, raw) for name, raw in data["guards"].items()}
    rules = tuple(compiler.rule(raw, guards) for raw in data["rules"])
    _check_unique(rule.id for rule in rules)
    return Book(
        language=language,
        vocabulary=vocabulary,
        rules=rules,
        guards=guards,
        breaks=compiler.patterns(data["breaks"]),
        **{name: frozenset(data[name][language].split()) for name in WORD_SETS},
        denied=[(number, pattern) for number, rule in enumerate(rules) for pattern in rule.denied],
        by_table=_index(rules),
    )


def _check_unique(ids: Iterable[str]) -> None:
    repeated = sorted(rule_id for rule_id, count in Counter(ids).items() if count > 1)
    if repeated:
        raise ValueError(f"rule ids used twice: {repeated}")


def _choices(raw: str) -> list[str]:
    """Return the entries of a list, written `one | two words | stem*`."""
    return [" ".join(entry.split()) for entry in raw.split("|") if entry.strip()]


def _index(rules: Sequence[Rule]) -> Mapping[int, Sequence[tuple[int, Pattern]]]:
    index: dict[int, list[tuple[int, Pattern]]] = defaultdict(list)
    for number, rule in enumerate(rules):
        for pattern in rule.patterns:
            index[pattern.parts[0][0].words].append((number, pattern))
    return dict(index)


@dataclass(frozen=True, slots=True)
class _Compiler:
    vocabulary: Vocabulary
    language: str

    def patterns(self, by_language: Mapping[str, str] | None) -> tuple[Pattern, ...]:
        lines = ((by_language or {}).get(self.language) or "").splitlines()
        wanted = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
        return tuple(compile_pattern(source, self.vocabulary) for source in wanted)

    def guard(self, name: str, raw: Mapping[str, Any]) -> Guard:
        return Guard(
            name=name,
            window=int(raw.get("window", 0)),
            patterns=self.patterns(raw),
            not_these=self.patterns(raw.get("not")),
        )

    def rule(self, raw: Mapping[str, Any], guards: Mapping[str, Guard]) -> Rule:
        unless = tuple(raw.get("unless", ("negated", "doubted")))
        for name in unless:
            if name not in guards and name != "question":
                raise ValueError(f"rule {raw['id']}: no guard is called {name}")
        return Rule(
            id=raw["id"],
            title=raw["title"],
            severity=Severity(raw["severity"]),
            why=raw["why"],
            source=raw["source"],
            suggestion=raw["suggest"][self.language],
            where=raw.get("where", "any"),
            unless=unless,
            patterns=self.patterns(raw),
            exceptions=self.patterns(raw.get("except")),
            denied=self.patterns(raw.get("denied")),
        )
