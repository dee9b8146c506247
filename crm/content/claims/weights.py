"""What the reader learned, as plain numbers in `reader.npz`; its hash, thresholds and origin stand in `reader.json`.

Nothing in these files is code. The hash is checked at loading, so a damaged or exchanged file refuses to work.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from crm.content.claims.units import Unit, key

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent
ARRAYS, MANIFEST = "reader.npz", "reader.json"


class BadWeights(ValueError):
    """The weights are missing, damaged, or not those of the manifest; says what to run."""


@dataclass(frozen=True, slots=True)
class Labeled:
    """A sentence of the corpus, and what it claims; nothing: it is fine."""

    unit: Unit
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """How raw scores become a probability, and from which probability on a language blocks or asks."""

    words: float
    vectors: float
    offset: float
    block: dict[str, float]
    ask: dict[str, float]


@dataclass(frozen=True, slots=True)
class Weights:
    """Everything the reader needs. Rows of `vectors` and `labeled` belong together; `claims` numbers those that claim."""

    arrays: dict[str, "NDArray[Any]"]
    kinds: tuple[str, ...]
    full: Scale
    words_only: Scale
    harmless_below: float  # by words alone; meaning is not looked up
    claim_above: float  # the same, for sentences that plainly claim
    labeled: tuple[Labeled, ...]
    claim_words: tuple[frozenset[str], ...]  # of those that `claims` numbers
    known: dict[tuple[str, str, str], int]
    manifest: dict[str, Any]


@lru_cache(maxsize=1)
def weights(folder: Path = FOLDER) -> Weights:
    """Return the weights, read once per process. Raises BadWeights for files that do not belong together."""
    import numpy as np  # noqa: PLC0415 - only readers of sentences need it

    try:
        data = (folder / ARRAYS).read_bytes()
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise BadWeights(f"{error}. Run: python -m tests.content.reader.train") from error
    if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise BadWeights(
            f"{ARRAYS} is not the file that {MANIFEST} describes. Run: python -m tests.content.reader.train"
        )
    with np.load(BytesIO(data), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["vectors"] = (
        arrays["vectors"].astype(np.float32) * arrays.pop("scales").astype(np.float32)[:, None]
    )
    support = np.flatnonzero(arrays["dual"])
    arrays["support"], arrays["dual"] = arrays["vectors"][support], arrays["dual"][support]
    labeled = tuple(_labeled(row) for row in orjson.loads(arrays.pop("sentences").tobytes()))
    arrays["claims"] = np.flatnonzero([bool(one.kinds) for one in labeled])
    return Weights(
        arrays=arrays,
        kinds=tuple(manifest["kinds"]),
        full=Scale(**manifest["full"]),
        words_only=Scale(**manifest["words_only"]),
        harmless_below=manifest["harmless_below"],
        claim_above=manifest["claim_above"],
        labeled=labeled,
        claim_words=tuple(frozenset(key(one.unit)[2].split()) for one in labeled if one.kinds),
        known={key(one.unit): number for number, one in enumerate(labeled)},
        manifest=manifest,
    )


def _labeled(row: list[Any]) -> Labeled:
    text, before, where, *kinds = row
    return Labeled(Unit(text, before, where), tuple(kinds))
