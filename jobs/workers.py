"""Several workers of one parent. It imports once and forks, so that they share the memory of what was imported.

The parent opens no connection and starts no thread. It starts a worker that ended again, and passes a request to end on
to all of them: each completes the job it has in hand.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog
from sqlalchemy.orm import configure_mappers

log = structlog.get_logger()

ENDING = (signal.SIGTERM, signal.SIGINT)
SIGNALS = (*ENDING, signal.SIGCHLD)
STABLE = 60.0  # seconds after which an end is no longer one of a row
LONGEST_PAUSE = 30.0
_PR_SET_PDEATHSIG = 1


@dataclass(kw_only=True)
class _Place:
    """The place of one worker: what it does, who does it now, and when the next one may start."""

    work: Callable[[], None]
    pid: int = 0
    born: float = 0.0
    short_lives: int = 0
    start_at: float = 0.0


def pause_after(short_lives: int) -> float:
    """Return the seconds before a worker starts again that ended early for this many times in a row."""
    return float(min(2 ** (short_lives - 1), LONGEST_PAUSE)) if short_lives else 0.0


class Parent:
    """Keeps one process for each of `works` until it is asked to end."""

    def __init__(self, works: Sequence[Callable[[], None]]) -> None:
        self._places = [_Place(work=work) for work in works]
        self._asked = 0  # how often this process was asked to end
        self._passed_on = 0
        self._pid = os.getpid()

    def run(self) -> None:
        """Start all workers and keep them running; return when they have ended on request."""
        bell, ring = os.pipe()
        for end in (bell, ring):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._note)
        configure_mappers()
        gc.collect()
        gc.freeze()  # a collection in a worker would otherwise write to, and so copy, every page they share
        while self._act():
            select.select([bell], [], [], self._patience())
            _empty(bell)

    def _note(self, number: int, _frame: object) -> None:
        if number in ENDING:
            self._asked += 1

    def _act(self) -> bool:
        """Do what is to be done now; return False when all have ended on request."""
        self._bury()
        if not self._asked:
            self._fill_places()
            return True
        self._pass_on()
        return any(place.pid for place in self._places)

    def _fill_places(self) -> None:
        for place in self._places:
            if not place.pid and time.monotonic() >= place.start_at:
                self._start(place)

    def _pass_on(self) -> None:
        """Ask all workers to end as often as this process was asked: a second time cuts the job in hand off."""
        if self._passed_on < self._asked:
            self._passed_on = self._asked
            for place in self._places:
                if place.pid:
                    os.kill(place.pid, signal.SIGTERM)

    def _bury(self) -> None:
        for place in self._places:
            if not place.pid or os.waitpid(place.pid, os.WNOHANG) == (0, 0):
                continue
            if not self._asked:
                log.warning("worker.ended", pid=place.pid)
            lived = time.monotonic() - place.born
            place.short_lives = place.short_lives + 1 if lived < STABLE else 0
            place.start_at = time.monotonic() + pause_after(place.short_lives)
            place.pid = 0

    def _patience(self) -> float | None:
        """Return the seconds until a worker is to be started, or None while only a signal brings work."""
        if self._asked:
            return None
        waiting = [place.start_at for place in self._places if not place.pid]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _start(self, place: _Place) -> None:
        # Blocked meanwhile: a signal that came between fork and reset would be noted in the child and then lost
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        place.born = time.monotonic()
        place.pid = os.fork()
        if not place.pid:
            _be_worker(place.work, parent=self._pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _be_worker(work: Callable[[], None], *, parent: int) -> NoReturn:
    """Work in the forked process; never return into the code of the parent."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        work()
        status = 0
    except SystemExit:
        status = 0  # a second request ends a job that the first let continue
    except BaseException as error:
        log.error("worker.failed", error=type(error).__name__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _end_with(parent: int) -> None:
    """Have the kernel ask this process to end when its parent is killed, where the kernel can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit()


def _empty(bell: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(bell, 4096)
