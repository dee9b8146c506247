"""What may be asked of a campaign, and what its numbers mean. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ASK_ABOVE = 1_000  # people; above that whoever launches types the number
LONGEST_LATE = 168  # hours
FAILURES_TO_PAUSE = 3  # batches refused for good before a campaign stops itself

MOVES: Mapping[str, frozenset[str]] = {  # verb -> states in which it makes sense
    "launch": frozenset({"draft"}),
    "begin": frozenset({"scheduled"}),
    "pause": frozenset({"freezing", "sending"}),
    "resume": frozenset({"paused"}),
    "cancel": frozenset({"draft", "scheduled", "freezing", "sending", "paused"}),
    "resend": frozenset({"finished", "cancelled"}),
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a campaign is, in people. They add up: each is in exactly one of these."""

    people: int = 0  # looked at so far; all of the audience once it is frozen
    waiting: int = 0  # in no batch yet, or in one that is ready, held or on its way
    accepted: int = 0
    left_out: int = 0  # skipped at the claim, or refused alone
    failed: int = 0
    uncertain: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        return self.people - self.waiting


_SHOWN = {"accepted": "accepted", "failed": "failed", "uncertain": "uncertain", "cancelled": "cancelled"}


def progress(*, people: int, batches: Iterable[tuple[str, int, int]]) -> Progress:
    """Add up (state, size, of these left out) of all batches."""
    counts = dict.fromkeys(("accepted", "failed", "uncertain", "cancelled", "left_out"), 0)
    for state, size, left_out in batches:
        counts["left_out"] += left_out
        if state in _SHOWN:
            counts[_SHOWN[state]] += size - left_out
    return Progress(people=people, waiting=people - sum(counts.values()), **counts)


def hours_needed(people: int, *, per_minute: int | None, per_day: int | None) -> float:
    """Return how many hours our own caps make a broadcast of so many people take at least."""
    waits = [0.0]
    if per_minute:
        waits.append(people / per_minute / 60)
    if per_day:
        waits.append((people - 1) // per_day * 24.0 if people else 0.0)
    return max(waits)
