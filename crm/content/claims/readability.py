"""How hard a text is to read. Counts syllables by rule, so that nothing has to be downloaded."""

import re
from collections.abc import Callable

from crm.content.claims.sentences import sentences

_ENGLISH_GROUP = re.compile(r"[aeiouy]+")
_SILENT = re.compile(r"(?:[^laeiouy]e|[^td]ed|[^cgszx]es)$")
_STRONG = re.compile(r"[aeoáéíóú]")
_WEAK_ALONE = re.compile(r"(?<![aeoáéíóúiuü])[iuüy]+(?![aeoáéíóúiuü])")
_WORD = re.compile(r"[^\W\d_]+")

MOST_GRADE = 8.9  # "eighth grade" reaches up to the ninth
LEAST_EASE = 60.0  # "normal" on the scale of Fernández Huerta, about the eighth grade


def too_hard(text: str, *, language: str) -> str | None:
    """Return what was measured when the text is harder than about eighth grade, or None. Short texts (< 30 words) never are."""
    if len(_WORD.findall(text)) < 30:
        return None
    if language == "es":
        ease = fernandez_huerta(text)
        return (
            f"Fernández Huerta {ease:.0f}, should be {LEAST_EASE:.0f} or more." if ease < LEAST_EASE else None
        )
    grade = flesch_kincaid(text)
    return (
        f"Flesch-Kincaid grade {grade:.1f}, should be below {MOST_GRADE + 0.1:.0f}."
        if grade > MOST_GRADE
        else None
    )


def flesch_kincaid(text: str) -> float:
    """Return the US school grade (Kincaid et al., 1975): 0.39 words/sentence + 11.8 syllables/word - 15.59."""
    words, count, syllables = _measure(text, english_syllables)
    return 0.39 * words / count + 11.8 * syllables / words - 15.59


def fernandez_huerta(text: str) -> float:
    """Return the ease of a Spanish text, 0 (hard) to 100 (easy): 206.84 - 60 syllables/word - 1.02 words/sentence."""
    words, count, syllables = _measure(text, spanish_syllables)
    return 206.84 - 60 * syllables / words - 1.02 * words / count


def english_syllables(word: str) -> int:
    """Return the number of syllables of an English word: groups of vowels, without a silent ending."""
    groups = len(_ENGLISH_GROUP.findall(word.lower()))
    return max(1, groups - bool(groups > 1 and _SILENT.search(word.lower())))


def spanish_syllables(word: str) -> int:
    """Return the number of syllables of a Spanish word: each strong or accented vowel, and weak vowels that stand alone."""
    return max(1, len(_STRONG.findall(word.lower())) + len(_WEAK_ALONE.findall(word.lower())))


def _measure(text: str, syllables: Callable[[str], int]) -> tuple[int, int, int]:
    words = _WORD.findall(text)
    return max(1, len(words)), max(1, len(sentences(text))), sum(map(syllables, words))
