"""Sentences with what they answer or continue: the unit that the reader judges.

"No." is a claim after "Is it addictive?", and "A cure" is none under "What nobody can promise:". So a sentence is read together
with the question it answers, the line that leads into its list, or the sentence that its "it" points back to.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crm.content.claims.sentences import Sentence, fold, sentences

SHORT = 4  # words; a sentence this short seldom stands alone

_BACKWARD = frozenset(
    (
        "it", "this", "that", "these", "those", "they", "them", "he", "she", "its", "their", "so", "such", "both", "neither",
        "none", "yes", "no", "not", "never", "absolutely", "of", "and", "but",
        "esto", "eso", "ese", "esa", "estos", "estas", "ellos", "ellas", "el", "ella", "lo", "le", "les", "si", "nunca",
        "ninguno", "ninguna", "tampoco", "tambien", "y", "pero", "claro", "asi",
    )
)  # fmt: skip
_ITEM = re.compile(r"[ \t]*(?:[-*+•·✓✔☑]|\d{1,2}[.)])[ \t]")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]")


class Unit(NamedTuple):
    """One sentence to judge, and the one before it where that counts."""

    text: str
    before: str = ""
    where: str = "body"


def units(text: str, *, where: str = "body") -> list[tuple[Sentence, Unit]]:
    """Return every sentence of a text as the unit it is judged in, in reading order."""
    read = sentences(text)
    leads = list(_leads(text, read))
    return [(one, Unit(one.text, before, where)) for one, before in zip(read, leads, strict=True)]


def _begins_item(line: str) -> bool:
    """Tell whether only the mark of a list item stands before a sentence in its line."""
    return bool(_ITEM.match(line)) and not _ITEM.sub("", line).strip(" *_\"'“«¿¡")


def _opens(text: str, line: str) -> bool:
    return _leads_on(text) or bool(_HEADING.match(line))


def _joined(answered: str, before: str) -> str:
    """Keep what a short sentence before this one answers; a longer one stands for itself."""
    return f"{answered} {before}" if answered and before and len(before.split()) < SHORT else before


def _leads(text: str, read: Sequence[Sentence]) -> Iterator[str]:
    lead, earlier, answered = "", None, ""
    for one in read:
        line = text[text.rfind("\n", 0, one.start) + 1 : one.start]
        is_item = _begins_item(line)
        apart = earlier is not None and "\n\n" in text[earlier.start : one.start]
        if is_item:
            yield lead
        else:
            before = earlier.text if earlier is not None and _looks_back(one, earlier, apart=apart) else ""
            answered = _joined(answered, before)
            yield answered
            lead = one.text if _opens(one.text, line) else ""
        earlier = one


def _leads_on(text: str) -> bool:
    return text.rstrip(" *_").endswith(":")


def _looks_back(one: Sentence, earlier: Sentence, *, apart: bool) -> bool:
    """Whether a sentence means little without the one before it: an answer, what follows a colon, "it", a word or two."""
    if _leads_on(earlier.text) or earlier.asks:
        return True
    words = [word for word in one.words if word.isalnum()]
    return not apart and bool(words) and (words[0] in _BACKWARD or len(words) < SHORT)


def key(unit: Unit) -> tuple[str, str, str]:
    """Return what makes two units the same: their words, however they are typed."""
    return (unit.where, _words(unit.before), _words(unit.text))


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+|[%$?]", fold(text)[0]))
