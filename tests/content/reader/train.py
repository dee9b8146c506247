"""Train the reader from the corpora: `python -m tests.content.reader.train`. Writes `reader.npz` and `reader.json`.

The same corpora give the same files. Thresholds are set on verdicts about whole files that were left out.
"""

import hashlib
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from crm.content.claims import encoder
from crm.content.claims.features import BUCKETS, KIND_BUCKETS, buckets
from crm.content.claims.reader import spoken
from crm.content.claims.weights import ARRAYS, FOLDER, MANIFEST
from tests.content.reader.data import ROOT, Example, corpus_files, examples, with_context
from tests.content.reader.figures import Tally

FOLDS = 5
FALSE_BLOCKS, FALSE_ASKS = 0.025, 0.12  # of harmless sentences in files left out
UNSEEN = 0.005  # of claims in files left out: so few may look harmless by their words alone
SURE = 0.002  # of harmless sentences in files left out: so few may look like a claim by their words alone
CACHE = ROOT / ".local" / "claims-vectors.npz"
WORDS, VECTORS, KINDS = {"C": 30.0}, {"C": 8.0, "cache_size": 1500}, {"C": 10.0}
SOLVER = {"max_iter": 400, "solver": "liblinear", "random_state": 0}


def main() -> None:
    """Train, measure on files left out, and write the weights."""
    found = examples()
    learned = [*found, *with_context(found)]
    table = Table(learned)
    say(
        f"{len(found)} labeled, {len(learned) - len(found)} copies with a sentence before, {len(set(table.files))} files"
    )
    left_out = score_left_out(table)
    scales: dict[str, Any] = {
        name: scale(table, left_out, vectors=name == "full") for name in ("full", "words_only")
    }
    alone = chances(left_out, scales["words_only"])
    scales["harmless_below"] = round(float(np.quantile(alone[table.y & ~table.copied], UNSEEN)), 5)
    scales["claim_above"] = round(float(np.quantile(alone[~table.y & ~table.copied], 1 - SURE)), 5)
    say(f"not encoded: {(alone[table.y] > scales['claim_above']).mean():.2f} of claims")
    say(f"not encoded: {(alone[~table.y] < scales['harmless_below']).mean():.2f} of harmless sentences")
    measured = left_out_figures(table, left_out, scales["full"])
    write(fit_all(table, found), table, scales, found, measured)


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


class Table:
    """The examples as numbers."""

    def __init__(self, learned: Sequence[Example]) -> None:
        self.examples = list(learned)
        self.y = np.array([bool(one.kinds) for one in learned])
        self.files = np.array([one.file for one in learned])
        self.languages = np.array([one.language for one in learned])
        self.copied = np.array([one.copied for one in learned])
        self.words = _sparse(learned, BUCKETS)
        self.integers, self.scales = quantized(vectors([spoken(one.unit) for one in learned]))
        self.vectors = self.integers.astype(np.float32) * self.scales.astype(np.float32)[:, None]


def _sparse(learned: Sequence[Example], size: int) -> csr_matrix:
    rows = [buckets(one.unit.text, before=one.unit.before, where=one.unit.where) for one in learned]
    ends = np.cumsum([0, *(len(at) for at, _ in rows)])
    columns = np.concatenate([np.array(at) % size for at, _ in rows])
    matrix = csr_matrix(
        (np.concatenate([weight for _, weight in rows]), columns, ends), shape=(len(rows), size)
    )
    matrix.sum_duplicates()
    return matrix


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Return the vectors of texts, from the cache where they were computed before."""
    known: dict[str, Any] = {}
    if CACHE.exists():
        with np.load(CACHE) as stored:
            known = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
    keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    for number, (key, text) in enumerate(new.items(), start=1):
        known[key] = encoder.encode([text])[0]
        if number % 500 == 0 or number == len(new):
            say(f"{number} of {len(new)} sentences encoded")
            CACHE.parent.mkdir(exist_ok=True)
            np.savez(CACHE, keys=np.array(list(known)), vectors=np.array(list(known.values())))
    return np.array([known[key] for key in keys])


def quantized(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors as whole numbers from -127 to 127, and the step of each."""
    steps = (np.abs(found).max(axis=1) / 127).astype(np.float16)
    return np.round(found / steps.astype(np.float32)[:, None]).clip(-127, 127).astype(np.int8), steps


def fit(table: Table, rows: np.ndarray) -> tuple[LogisticRegression, SVC]:
    """Train both models on some rows."""
    words = LogisticRegression(**WORDS, **SOLVER).fit(table.words[rows], table.y[rows])
    return words, SVC(**VECTORS).fit(table.vectors[rows], table.y[rows])


def folds(files: Sequence[str]) -> dict[str, int]:
    """Return the fold of each file: whole files, the large ones first, to the emptiest fold."""
    sizes = {name: list(files).count(name) for name in sorted(set(files))}
    filled = [0] * FOLDS
    chosen = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        chosen[name] = filled.index(min(filled))
        filled[chosen[name]] += sizes[name]
    return chosen


def score_left_out(table: Table) -> np.ndarray:
    """Return both raw scores of every row, from models that did not see its file."""
    chosen = folds(table.files.tolist())
    numbers = np.array([chosen[name] for name in table.files])
    scores = np.zeros((len(table.y), 2))
    for number in range(FOLDS):
        words, meaning = fit(table, np.flatnonzero(numbers != number))
        out = np.flatnonzero(numbers == number)
        scores[out, 0] = words.decision_function(table.words[out])
        scores[out, 1] = meaning.decision_function(table.vectors[out])
        say(f"fold {number + 1} of {FOLDS}")
    return scores


def scale(table: Table, scores: np.ndarray, *, vectors: bool) -> dict[str, Any]:
    """Return how the scores become a probability, and the thresholds of each language."""
    used = scores if vectors else scores[:, :1]
    model = LogisticRegression(C=100.0).fit(used[~table.copied], table.y[~table.copied])
    chance = model.predict_proba(used)[:, 1]
    block, ask = {}, {}
    for language in ("en", "es"):
        harmless = np.sort(chance[(table.languages == language) & ~table.y & ~table.copied])
        block[language] = round(float(harmless[int(len(harmless) * (1 - FALSE_BLOCKS))]), 4)
        ask[language] = round(float(harmless[int(len(harmless) * (1 - FALSE_ASKS))]), 4)
    weight = [round(float(one), 5) for one in model.coef_[0]]
    return {
        "words": weight[0],
        "vectors": weight[1] if vectors else 0.0,
        "offset": round(float(model.intercept_[0]), 5),
        "block": block,
        "ask": ask,
    }


def chances(scores: np.ndarray, used: dict[str, Any]) -> np.ndarray:
    """Return the probabilities that raw scores mean."""
    return 1 / (1 + np.exp(-(used["words"] * scores[:, 0] + used["vectors"] * scores[:, 1] + used["offset"])))


def left_out_figures(table: Table, scores: np.ndarray, used: dict[str, Any]) -> dict[str, str]:
    """Return what the reader alone reaches on files left out, by language, kind and file."""
    chance = chances(scores, used)
    found: dict[str, Tally] = {}
    for row, one in enumerate(table.examples):
        if one.copied:
            continue
        sure, asked = chance[row] >= used["block"][one.language], chance[row] >= used["ask"][one.language]
        verdict = "block" if sure else "ask" if asked else "pass"
        for name in (
            one.language,
            *(f"{one.language} {kind}" for kind in one.kinds),
            f"{one.language} {one.file}",
        ):
            found.setdefault(name, Tally()).add(bad=bool(one.kinds), verdict=verdict)
    return {name: str(tally) for name, tally in sorted(found.items())}


def fit_all(table: Table, found: Sequence[Example]) -> dict[str, np.ndarray]:
    """Train on everything; return the arrays to ship."""
    words, meaning = fit(table, np.arange(len(table.y)))
    dual = np.zeros(len(table.y), np.float32)
    dual[meaning.support_] = meaning.dual_coef_[0]
    kept = (~table.copied) | (dual != 0)
    return {
        "words": words.coef_[0].astype(np.float16),
        "words_offset": np.float32(words.intercept_[0]),
        "vectors": table.integers[kept],
        "scales": table.scales[kept],
        "dual": dual[kept],
        "dual_offset": np.float32(meaning.intercept_[0]),
        "gamma": np.float32(meaning._gamma),
        "sentences": _sentences([one for one, keep in zip(table.examples, kept, strict=True) if keep]),
        **_fit_kinds(table),
    }


def _sentences(kept: Sequence[Example]) -> np.ndarray:
    rows = [[*one.unit, *one.kinds] for one in kept]
    return np.frombuffer(orjson.dumps(rows), np.uint8)


def kinds(found: Sequence[Example]) -> list[str]:
    """Return every kind of claim."""
    return sorted({kind for one in found for kind in one.kinds})


def _fit_kinds(table: Table) -> dict[str, np.ndarray]:
    bad = np.flatnonzero(table.y & ~table.copied)
    chosen = [table.examples[row] for row in bad]
    words, meaning = _sparse(chosen, KIND_BUCKETS), table.vectors[bad]
    by_words, by_meaning = [], []
    for kind in kinds(table.examples):
        has = np.array([kind in one.kinds for one in chosen])
        by_words.append(LogisticRegression(**KINDS, **SOLVER).fit(words, has))
        by_meaning.append(LogisticRegression(**KINDS, max_iter=200).fit(meaning, has))
    return {
        "kind_words": np.array([one.coef_[0] for one in by_words]).astype(np.float16),
        "kind_offsets": np.array([one.intercept_[0] for one in by_words], np.float32),
        "kind_vectors": np.array([one.coef_[0] for one in by_meaning]).astype(np.float16),
        "kind_vector_offsets": np.array([one.intercept_[0] for one in by_meaning], np.float32),
    }


def write(
    arrays: dict[str, np.ndarray],
    table: Table,
    scales: dict[str, Any],
    found: Sequence[Example],
    measured: dict[str, str],
) -> None:
    """Write the weights, and the manifest that vouches for them."""
    out = BytesIO()
    np.savez_compressed(out, **arrays)
    data = out.getvalue()
    (FOLDER / ARRAYS).write_bytes(data)
    manifest = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "made_by": "python -m tests.content.reader.train",
        "kinds": kinds(found),
        **scales,
        "sentences": {
            language: int(sum(table.languages[~table.copied] == language)) for language in ("en", "es")
        },
        "left_out": measured,
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in corpus_files()},
    }
    (FOLDER / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
    say(f"{Path(ARRAYS).name}: {len(data) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
