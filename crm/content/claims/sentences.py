"""From text to sentences of plain words that still know where they stood.

Words are compared folded: lower case, without accents, with typographic signs made plain, so that "Curación", "curacion" and a
decomposed or full-width spelling are one. Every word keeps its offsets in the text as given, so that an editor can underline it.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 160  # words in one sentence; longer ones are read in pieces, so that no text can make reading slow
BREAK = ";"

_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһкмтвнΑΒΕΖΗΙΚΜΝΟΡΤΥΧαεινορτυχ’‘ʼ´`＇…‐‑−–—―",
    "aeopcyxijsdhkmtbnABEZHIKMNOPTYXaeivoptyx''''''.---–––",
)
_LEET = str.maketrans("013457@$", "oieastas")
_MIXED = re.compile(
    r"(?<![a-z0-9@$])[a-z]+[013457@$]+[a-z]{1,20}(?![a-z0-9])"
)  # "cur3s", "p4in", not "b12" or "h2o"
_SPACED = re.compile(r"(?<![a-z0-9])[a-z](?:[ .*_-]{1,2}[a-z]){3,30}(?![a-z0-9])")  # "c u r e s", "c.u.r.e"
_WORD = re.compile(
    r"[0-9]+(?:[.,][0-9]+)*|[a-z]+(?:'[a-z]+)?|[%$€&,]|#(?=[ ]?[0-9])|[;:()\[\]{}|–]|(?<=\s)-+(?=\s)"
)
_SKIP = re.compile(
    r"\[\[\s?(?:block\s?:[^\[\]\n]{0,80}\]\]|button\s?:)|\|[ ]?[a-z_]{1,40}[ ]?\]\]|\]\([^()\s]{0,500}\)"
    r"|\{\{[^{}]{0,80}\}\}|https?://[^\s)>\]]{1,2000}|\bwww\.[^\s)>\]]{1,500}|<[a-zA-Z/!][^<>]{0,500}>"
)
_END = re.compile(r"[.!?]{1,8}[\"'”’»)\]*_]{0,4}(?=\s|$)|\n")
_NEW_BLOCK = re.compile(r"[ \t]{0,20}(?:[-*+•·–—>#✓✔☑|]|\d{1,2}[.)]\s|\[\[|$)", re.MULTILINE)
_ABBREVIATED = frozenset(
    (
        "dr", "dra", "drs", "sr", "sra", "mr", "mrs", "ms", "vs", "eg", "ie", "approx", "aprox", "al",
        "st", "ave", "no", "nos", "num", "ph", "dept", "fig", "ej", "ud", "uds", "ee", "uu", "u", "s", "e",
        "g", "i", "p", "a", "m", "d",
    )
)  # fmt: skip
_SHORTENED = {"t": "not", "re": "are", "ve": "have", "ll": "will", "m": "am", "d": "would"}
_NEGATED = {"ca": "can", "wo": "will", "sha": "shall"}
_SPELLED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys("()[]{}", (",",)),
    **dict.fromkeys(";:|–", (BREAK,)),
    "&": ("and",),
    "percent": ("%",),
    "cannot": ("can", "not"),
}
_IS = frozenset(["it", "that", "there", "here", "what", "he", "she", "who", "this", "everything"])


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence as words. `words[i]` stands at `text[starts[i]:ends[i]]`; `;` marks a break inside the sentence."""

    text: str
    start: int
    words: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    names: tuple[bool, ...]

    @property
    def asks(self) -> bool:
        """Whether it ends as a question."""
        return self.text.rstrip("\"'”’»)]*_ ").endswith("?")


def fold(text: str) -> tuple[str, list[int] | None]:
    """Return the text folded for comparing, and for each of its characters the offset it came from (None: the same)."""
    if text.isascii():
        return text.lower(), None
    letters: list[str] = []
    origin: list[int] = []
    for at, char in enumerate(text):
        for plain in _fold_char(char):
            letters.append(plain)
            origin.append(at)
    return "".join(letters), origin


@lru_cache(maxsize=4096)
def _fold_char(char: str) -> str:
    if char.isascii():
        return char.lower()
    if unicodedata.category(char) in ("Cf", "Mn"):
        return ""
    plain = unicodedata.normalize("NFKD", char.translate(_LOOKALIKES)).translate(_LOOKALIKES).lower()
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    return kept.replace("\u00a0", " ")


def plain(text: str) -> str:
    """Return the folded text with disguises undone: digits that stand for letters, letters set apart."""
    return _SPACED.sub(_joined, _MIXED.sub(_lettered, fold(text)[0]))


def _lettered(found: re.Match[str]) -> str:
    return found.group().translate(_LEET)


def _joined(found: re.Match[str]) -> str:
    return "".join(char for char in found.group() if char.isalpha())


def sentences(text: str) -> list[Sentence]:
    """Split text (plain or Markdown) into sentences. Headings, list items and table cells each stand alone."""
    folded, origin = fold(text)
    masked = _MIXED.sub(_lettered, _SKIP.sub(lambda found: " " * len(found.group()), folded))
    found: list[Sentence] = []
    begin = 0
    for end in (*_ends(masked), len(masked)):
        if end > begin:
            found.extend(_read(text, masked, origin, begin, end))
        begin = end
    return found


def _ends(folded: str) -> list[int]:
    ends = []
    line_start = 0
    for mark in _END.finditer(folded):
        if mark.group() == "\n":
            if _line_ends(folded, line_start, mark.start()):
                ends.append(mark.end())
            line_start = mark.end()
        elif not _only_a_dot(folded, mark):
            ends.append(mark.end())
    return ends


def _line_ends(folded: str, line_start: int, at: int) -> bool:
    """Whether a newline ends a sentence: a soft wrap in a paragraph does not, a heading, item or empty line does."""
    if _NEW_BLOCK.match(folded, at + 1):
        return True
    return at - line_start < 60 or folded[line_start : line_start + 1] in "#|"


def _only_a_dot(folded: str, mark: re.Match[str]) -> bool:
    if not mark.group().startswith(".") or len(mark.group()) > 1:
        return False
    before = folded[max(0, mark.start() - 12) : mark.start()]
    word = re.search(r"([a-z]+)$", before)
    if not word or word.group() not in _ABBREVIATED:
        return False
    after = folded[mark.end() : mark.end() + 2].strip()
    return word.group() not in ("no", "a", "m", "s", "i") or after[:1].isdigit() or before[-2:-1] == "."


def _read(text: str, folded: str, origin: list[int] | None, begin: int, end: int) -> list[Sentence]:
    words: list[tuple[str, int, int, bool]] = []
    for found in _WORD.finditer(folded, begin, end):
        words.extend(_words(text, found, origin))
    marks = next((at for at, word in enumerate(words) if word[0] not in (BREAK, ",")), len(words))
    words = words[marks:]  # without the mark of a list item
    return [_sentence(text, words[at : at + LONGEST]) for at in range(0, len(words), LONGEST)]


def _words(text: str, found: re.Match[str], origin: list[int] | None) -> list[tuple[str, int, int, bool]]:
    start, end = found.span()
    if origin:
        start, end = origin[start], origin[end - 1] + 1
    return [(word, start, end, text[start].isupper()) for word in _plain(found.group())]


@lru_cache(maxsize=8192)
def _plain(word: str) -> tuple[str, ...]:
    if word in _SPELLED:
        return _SPELLED[word]
    if word[0] == "-":
        return (BREAK,)
    head, apostrophe, tail = word.partition("'")
    return _expanded(head, tail) if apostrophe else (word,)


def _expanded(head: str, tail: str) -> tuple[str, ...]:
    """Return a contraction as its words: can't, won't, it's, they're."""
    if tail == "t" and head.endswith("n"):
        return (_NEGATED.get(head[:-1], head[:-1]), "not")
    if tail == "s":
        return (head, "is") if head in _IS else (head,)
    return (head, _SHORTENED.get(tail, tail))


def _sentence(text: str, words: list[tuple[str, int, int, bool]]) -> Sentence:
    first, last = words[0][1], words[-1][2]
    for char in text[last : last + 8]:
        if char not in "\"'”’»)]*_.!?…":
            break
        last += 1
    return Sentence(
        text=text[first:last],
        start=first,
        words=tuple(word for word, *_ in words),
        starts=tuple(start for _, start, _, _ in words),
        ends=tuple(end for _, _, end, _ in words),
        names=tuple(name for *_, name in words),
    )


def supports(claim: str, sentence: str) -> bool:
    """Tell whether a sentence says a claim, or part of one, whatever its marks and capitals."""
    stated, said = plain_words(claim), plain_words(sentence)
    return stated in said or said in stated


def plain_words(text: str) -> str:
    """Return the words of a text in small letters without accents and marks, with a space around each."""
    return f" {_NOT_WORD.sub(' ', fold(text)[0]).strip()} "


_NOT_WORD = re.compile(r"[^a-z0-9]+")
