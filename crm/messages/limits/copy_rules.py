"""The rules of the copy guard: which mark differs, whether that holds sending, and why, in plain words. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

LONGEST_SILENCE = timedelta(hours=24)
# How long both marks outside may be missing: another machine that still has its file writes Redis anew meanwhile.
LOST_GRACE = timedelta(minutes=2)


class Difference(StrEnum):
    """A mark by which a database is known to be a copy, or older than the mail that was sent."""

    SERVER = "server"
    DATABASE = "database"
    TIMELINE = "timeline"
    PLACE = "place"
    OLDER = "older"
    LOST = "lost"
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The marks that a database carries, what the database is, and what is known outside it."""

    instance: str | None  # server/database/timeline; older releases wrote the first two only
    place: str | None  # older releases wrote none
    alive_at: datetime | None  # the last sweep
    floor: int | None  # where the last release starts to count; None until a mark was written outside
    newest: int  # the number of the newest claim in the database
    here: str  # what `instance` would be now
    here_place: str  # what `place` would be now
    outside: int | None  # the number outside; None when both Redis and the file have none

    @property
    def known(self) -> int:
        """The highest number that this database accounts for."""
        return max(self.floor or 0, self.newest)


def find(marks: Marks, *, now: datetime, guard_silence: bool) -> Difference | None:
    """Return the first mark that differs; None when the database is what it was, and as new as its mail."""
    silent = guard_silence and marks.alive_at is not None and now - marks.alive_at > LONGEST_SILENCE
    return _instance(marks) or _place(marks) or _number(marks) or (Difference.SILENT if silent else None)


def must_hold(found: Difference, marks: Marks, *, now: datetime) -> bool:
    """Tell whether staff must release sending. Lost marks may come back: claims only wait for them, for a while."""
    return found is not Difference.LOST or marks.alive_at is None or now - marks.alive_at > LOST_GRACE


def next_floor(marks: Marks, *, now: datetime) -> int:
    """Return a number above every number ever written outside, also in files that cannot be read from here.

    It is the time in microseconds: an installation never makes as many claims as microseconds pass.
    """
    return max(int(now.timestamp() * 1_000_000), marks.known + 1, (marks.outside or 0) + 1)


def explain(found: Difference, marks: Marks) -> str:
    """Return the reason in words for staff."""
    match found:
        case Difference.SERVER:
            return "This database is a copy: its mark names another database server."
        case Difference.DATABASE:
            return "This database is a copy: its mark names another database of the same server."
        case Difference.TIMELINE:
            return "The database server was restored to an earlier moment, or a standby took over."
        case Difference.PLACE:
            return f"The database was copied or moved: it is at {marks.here_place}, and its mark names {marks.place}."
        case Difference.OLDER:
            return (
                "This database is older than the mail that was sent: the mark outside it, in Redis or in the file, "
                "names a batch that it does not have."
            )
        case Difference.LOST:
            return (
                "Both marks outside the database are lost, in Redis and in the file, so nobody can tell whether this "
                "database is up to date."
            )
        case Difference.SILENT:
            return "No sweep has run for more than a day: this may be a backup that was restored."
    assert_never(found)


def _instance(marks: Marks) -> Difference | None:
    if marks.instance is None:
        return None
    kinds = (Difference.SERVER, Difference.DATABASE, Difference.TIMELINE)
    parts = zip(kinds, marks.instance.split("/"), marks.here.split("/"), strict=False)
    return next((kind for kind, marked, actual in parts if marked != actual), None)


def _place(marks: Marks) -> Difference | None:
    return None if marks.place in (None, marks.here_place) else Difference.PLACE


def _number(marks: Marks) -> Difference | None:
    if marks.outside is None:
        return None if marks.floor is None else Difference.LOST
    return Difference.OLDER if marks.outside > marks.known else None
