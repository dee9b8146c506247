"""Demo clock: an offset to real time in a file that all processes of one installation share. Not in production."""

import os
from datetime import timedelta
from pathlib import Path


class DemoClock:
    """The offset of one app's time. `path`: the file with the seconds, as text; None is real time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cached: tuple[int, timedelta] = (0, timedelta())

    def offset(self) -> timedelta:
        """Return how far the clock is ahead of real time."""
        if self._path is None:
            return timedelta()
        try:
            changed = os.stat(self._path).st_mtime_ns
        except FileNotFoundError:
            return timedelta()
        if changed != self._cached[0]:
            self._cached = (changed, timedelta(seconds=float(self._path.read_text() or 0)))
        return self._cached[1]

    def move_ahead(self, by: timedelta) -> None:
        """Move the clock of all processes that share the file. Raises RuntimeError where there is none."""
        if self._path is None:
            raise RuntimeError("The clock cannot be moved in production.")
        seconds = (self.offset() + by).total_seconds()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(str(seconds))
        os.replace(fresh, self._path)
