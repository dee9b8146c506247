"""N-grams of a sentence as numbers: what the linear part of the reader weighs.

Words and letters are hashed into a fixed number of buckets with CRC-32, so that training and reading agree on every machine and
no vocabulary has to be shipped. The sentence before has buckets of its own, because "No." means something else after a question.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from math import log, sqrt
from zlib import crc32

from crm.content.claims.sentences import plain

BUCKETS = 1 << 18
KIND_BUCKETS = 1 << 14

_TOKEN = re.compile(r"[a-z0-9]+|[%$?!\"“”«»]")
_PART = re.compile(r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ'’]*")


def buckets(text: str, *, before: str = "", where: str = "body") -> tuple[list[int], list[float]]:
    """Return the buckets of a sentence and their weights; the weights of each sentence have length one."""
    counted = Counter(crc32(name.encode()) % BUCKETS for name in _names(text, before, where))
    weights = [1 + log(count) for count in counted.values()]
    length = sqrt(sum(one * one for one in weights)) or 1.0
    return list(counted), [one / length for one in weights]


def _names(text: str, before: str, where: str) -> Iterator[str]:
    words = _TOKEN.findall(plain(text))
    yield from _word_names("w", words, longest=3)
    yield from _letter_names(words)
    yield from (f"n {plain(name)}" for name in _capitals(text))
    yield f"where {where}"
    if before:
        earlier = _TOKEN.findall(plain(before))
        yield from _word_names("b", earlier, longest=2)
        yield from (f"a {earlier[-1]} {first}" for first in words[:1] if earlier)


def _word_names(space: str, words: list[str], *, longest: int) -> Iterator[str]:
    edged = ["<", *words, ">"]
    for length in range(1, longest + 1):
        for at in range(len(edged) - length + 1):
            yield f"{space} {' '.join(edged[at : at + length])}"


def _letter_names(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        edged = f" {word} "
        for length in range(3, 6):
            for at in range(len(edged) - length + 1):
                yield f"l {edged[at : at + length]}"


def _capitals(text: str) -> Iterator[str]:
    """Yield the words with a capital inside the sentence: names, mostly."""
    for found in list(_PART.finditer(text))[1:]:
        if found.group()[0].isupper() and text[max(0, found.start() - 2) : found.start()].strip() not in (
            ".",
            "?",
            "!",
            ":",
        ):
            yield found.group()
