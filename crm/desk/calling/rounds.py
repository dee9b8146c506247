"""A round through a list, one lead after the other: how many were done and which were passed over, in the session."""

from typing import TypedDict

from flask import session

MOST_SKIPPED = 50


class _Kept(TypedDict):
    count: int
    skipped: list[int]


class Round:
    """The round of the signed-in user through one list. `name` tells lists apart in the session."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def count(self) -> int:
        """How many were done."""
        return self._kept()["count"]

    @property
    def skipped(self) -> list[int]:
        """The leads that were passed over, the last ones only."""
        return self._kept()["skipped"]

    def begin(self) -> None:
        """Begin anew: nothing done, nobody passed over."""
        session[self.name] = _Kept(count=0, skipped=[])

    def skip(self, lead_id: int) -> None:
        """Pass over a lead until the next round."""
        kept = self._kept()
        session[self.name] = _Kept(count=kept["count"], skipped=[*kept["skipped"], lead_id][-MOST_SKIPPED:])

    def add_one(self) -> None:
        """Count one more as done."""
        kept = self._kept()
        session[self.name] = _Kept(count=kept["count"] + 1, skipped=kept["skipped"])

    def end(self) -> int:
        """End the round; return how many were done."""
        count = self.count
        session.pop(self.name, None)
        return count

    def _kept(self) -> _Kept:
        kept: _Kept = session.get(self.name) or _Kept(count=0, skipped=[])
        return kept
