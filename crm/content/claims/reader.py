"""The learned reader: how likely a sentence makes a forbidden claim, of which kind, and which labeled sentences it resembles.

Two scores are weighed together: one of words and letters (a linear model), one of meaning (sentence vectors and a support vector
machine). Where no vectors can be had the first serves alone, with thresholds of its own. A sentence that stands in the corpus is
judged as it is labeled there.
"""

from functools import lru_cache
from math import exp
from typing import TYPE_CHECKING, Any, NamedTuple

from crm.content.claims import encoder
from crm.content.claims.features import KIND_BUCKETS, buckets
from crm.content.claims.units import Unit, key
from crm.content.claims.weights import Scale, Weights, weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECOND_KIND = 0.5
NEAREST = 2
LONGEST = 1_000  # letters whose meaning is looked up


class Reading(NamedTuple):
    """What the reader says about one unit. `labeled`: it stands in the corpus and this is its label."""

    probability: float
    verdict: str  # BLOCK, ASK or nothing
    kinds: tuple[str, ...]
    nearest: tuple[str, ...]
    labeled: bool = False


def read(unit: Unit, *, language: str) -> Reading:
    """Judge one unit by the thresholds of a language. Raises BadWeights when the weights cannot be used."""
    return _read(unit, language, encoder.is_available())


@lru_cache(maxsize=4096)  # a text is read again with each change of one sentence
def _read(unit: Unit, language: str, use_vectors: bool) -> Reading:
    known = weights()
    number = known.known.get(key(unit))
    if number is not None:
        kinds = known.labeled[number].kinds
        return Reading(float(bool(kinds)), "BLOCK" if kinds else "", kinds, (), labeled=True)
    scored = score(unit, known, use_vectors=use_vectors)
    scale = known.words_only if scored.vector is None else known.full
    verdict = _verdict(scored.probability, scale, language)
    if not verdict:
        return Reading(scored.probability, "", (), ())
    return Reading(scored.probability, verdict, kinds_of(scored, known), _nearest(unit, scored, known))


class Scored(NamedTuple):
    """The probability of a unit, and the features that its kinds follow from."""

    probability: float
    buckets: list[int]
    weights: list[float]
    vector: "NDArray[Any] | None"


def score(unit: Unit, known: Weights, *, use_vectors: bool) -> Scored:
    """Return how likely a unit makes a claim, whatever is labeled."""
    import numpy as np  # noqa: PLC0415

    at, weight = buckets(unit.text, before=unit.before, where=unit.where)
    arrays = known.arrays
    words = float(arrays["words"][at].astype(np.float32) @ np.array(weight, np.float32)) + float(
        arrays["words_offset"]
    )
    alone = _probability(known.words_only, words, 0.0)
    if not use_vectors or not known.harmless_below < alone < known.claim_above:
        return Scored(alone, at, weight, None)
    vector = encoder.encode([spoken(unit)])[0]
    near = np.exp(-float(arrays["gamma"]) * (2 - 2 * (arrays["support"] @ vector)))
    meaning = float(near @ arrays["dual"]) + float(arrays["dual_offset"])
    return Scored(_probability(known.full, words, meaning), at, weight, vector)


def spoken(unit: Unit) -> str:
    """Return the text that stands for a unit when its meaning is looked up."""
    if unit.where == "subject":
        return f"Subject: {unit.text}"[:LONGEST]
    return f"{unit.before} {unit.text}".strip()[-LONGEST:]


def kinds_of(scored: Scored, known: Weights) -> tuple[str, ...]:
    """Return the likeliest kind, then others that are likely too."""
    import numpy as np  # noqa: PLC0415

    arrays = known.arrays
    at = [bucket % KIND_BUCKETS for bucket in scored.buckets]
    scores = (
        arrays["kind_words"][:, at].astype(np.float32) @ np.array(scored.weights, np.float32)
        + arrays["kind_offsets"]
    )
    if scored.vector is not None:
        scores = (
            scores + arrays["kind_vectors"].astype(np.float32) @ scored.vector + arrays["kind_vector_offsets"]
        ) / 2
    order = np.argsort(-scores, kind="stable")
    return tuple(
        known.kinds[number]
        for rank, number in enumerate(order[:3])
        if rank == 0 or 1 / (1 + exp(-scores[number])) > SECOND_KIND
    )


def _probability(scale: Scale, words: float, meaning: float) -> float:
    raw = scale.words * words + scale.vectors * meaning + scale.offset
    return 1 / (1 + exp(-max(-30.0, min(30.0, raw))))


def _verdict(probability: float, scale: Scale, language: str) -> str:
    if probability >= scale.block[language]:
        return "BLOCK"
    return "ASK" if probability >= scale.ask[language] else ""


def _nearest(unit: Unit, scored: Scored, known: Weights) -> tuple[str, ...]:
    """Return the labeled claims that a sentence is most like: by meaning, or by the words they share."""
    import numpy as np  # noqa: PLC0415

    claims = known.arrays["claims"]
    if scored.vector is not None:
        likeness = known.arrays["vectors"][claims] @ scored.vector
    else:
        said = set(key(unit)[2].split())
        likeness = np.array([len(said & words) / (len(said | words) or 1) for words in known.claim_words])
    order = np.argsort(-likeness, kind="stable")[:NEAREST]
    return tuple(spoken(known.labeled[claims[number]].unit) for number in order)
