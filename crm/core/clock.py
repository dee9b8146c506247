"""What time it is. On one machine for trying out, the clock can be moved ahead; never in production."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path

_pretended: ContextVar[datetime | None] = ContextVar("pretended", default=None)
_offset_file: Path | None = None
_cached: tuple[int, timedelta] = (0, timedelta())


def now() -> datetime:
    """Return the present moment, aware and in UTC, moved ahead by the demo clock where one is set."""
    return _pretended.get() or datetime.now(UTC) + _offset()


@contextmanager
def pretend(moment: datetime) -> Iterator[None]:
    """Let it be `moment` inside the block: for making up a past, and for rehearsing a future."""
    token = _pretended.set(moment)
    try:
        yield
    finally:
        _pretended.reset(token)


def use_offset_file(path: Path | None) -> None:
    """Read the clock's offset (seconds, as text) from `path` from now on; None goes back to real time."""
    global _offset_file
    _offset_file = path


def move_ahead(by: timedelta) -> datetime:
    """Move the demo clock of all processes that share the offset file; return the new time."""
    if _offset_file is None:
        raise RuntimeError("The clock cannot be moved here.")
    seconds = (_offset() + by).total_seconds()
    _offset_file.parent.mkdir(parents=True, exist_ok=True)
    fresh = _offset_file.with_suffix(".new")
    fresh.write_text(str(seconds))
    os.replace(fresh, _offset_file)
    return now()


def _offset() -> timedelta:
    global _cached
    if _offset_file is None:
        return timedelta()
    try:
        changed = os.stat(_offset_file).st_mtime_ns
    except FileNotFoundError:
        return timedelta()
    if changed != _cached[0]:
        _cached = (changed, timedelta(seconds=float(_offset_file.read_text() or 0)))
    return _cached[1]
