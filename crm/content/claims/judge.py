"""The verdict on every sentence: what the rules decide, what the reader has learned, and whether the language is the right one.

Rules decide what is plain: absolute words, approvals, doses, the envelope. The reader judges meaning. It blocks where it is sure
and asks where it is not; a reviewer answers at the sentence.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from crm.content.claims import engine, reader
from crm.content.claims.engine import Finding, finding
from crm.content.claims.languages import language_of
from crm.content.claims.rulebook import Severity, rulebook
from crm.content.claims.sentences import Sentence
from crm.content.claims.units import Unit, units

_STARRED = re.compile(
    r"(?<![\w*])[^\W\d_]+\*[^\W\d_]+(?:\*[^\W\d_]+)*(?![\w*])"
)  # "c*re", not Markdown's **bold**


def check(text: str, *, language: str, where: str = "body") -> list[Finding]:
    """Return what is wrong with the sentences of a text, in reading order, by rules and by the reader.

    `where` is `body` or `subject` (also for preheaders). Raises ValueError for an unknown language or place.
    """
    by_rule = engine.check(text, language=language, where=where)
    return _sorted(
        [*by_rule, *_judged(text, language, where, frozenset((one.start, one.id) for one in by_rule))]
    )


def _sorted(found: Iterable[Finding]) -> list[Finding]:
    return sorted(found, key=lambda one: (one.start, one.id))


@lru_cache(maxsize=128)  # shared blocks are read again with every email that uses them
def _judged(text: str, language: str, where: str, ruled: frozenset[tuple[int, str]]) -> tuple[Finding, ...]:
    return tuple(_each(text, language, where, ruled))


def _each(text: str, language: str, where: str, ruled: frozenset[tuple[int, str]]) -> Iterator[Finding]:
    for sentence, unit in units(text, where=where):
        span = sentence.start, sentence.start + len(sentence.text)
        already = {rule_id for start, rule_id in ruled if span[0] <= start < span[1]}
        told = language_of(sentence.text) or language
        if told != language:
            yield _about(sentence, text, "wrong-language", language)
            yield from _by_other_rules(sentence, told, already)
        if _STARRED.search(sentence.text):
            yield _about(sentence, text, "disguise", language)
        yield from _learned(sentence, unit, text, language, already)


def _by_other_rules(sentence: Sentence, told: str, already: set[str]) -> Iterator[Finding]:
    """A sentence in the other language is read by the rules of its own."""
    for one in engine.check(sentence.text, language=told):
        if one.id not in already:
            yield replace(one, start=one.start + sentence.start, end=one.end + sentence.start)


def _learned(
    sentence: Sentence, unit: Unit, text: str, language: str, already: set[str]
) -> Iterator[Finding]:
    reading = reader.read(unit, language=language)
    if not reading.verdict:
        return
    severity = Severity(reading.verdict)
    for kind in reading.kinds:
        if kind in already or (severity is Severity.ASK and already):
            continue
        yield replace(
            _about(sentence, text, kind, language),
            severity=severity,
            probability=reading.probability,
            nearest=reading.nearest,
            unit=unit,
        )


def _about(sentence: Sentence, text: str, rule_id: str, language: str) -> Finding:
    start, end = sentence.start, sentence.start + len(sentence.text)
    about = finding(rulebook(language).rule(rule_id), text=text, start=start, end=end)
    return replace(about, sentence=sentence.text, of_sentence=True)
