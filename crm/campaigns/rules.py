"""The states of a campaign, the verbs that move it, and its numbers. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from crm.messages.rules import LONGEST_WAIT, STREAMS, BatchState, Stream

ASK_ABOVE = 1_000  # people; above that the number must be typed to launch
LONGEST_LATE = int(LONGEST_WAIT.total_seconds() // 3600)  # hours
FAILURES_TO_PAUSE = 3  # batches refused for good before a campaign is paused automatically


def stream_of(topic: str) -> Stream:
    """Return the stream in which the emails of a topic leave."""
    return next(stream for stream in STREAMS.values() if stream.topic == topic)


class CampaignState(StrEnum):
    """The state of a campaign."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    FREEZING = "freezing"  # launched; the audience is still being stored, while sending runs
    SENDING = "sending"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class Verb(StrEnum):
    """What a person or a job does to a campaign."""

    LAUNCH = "launch"
    BEGIN = "begin"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RESEND = "resend"


# A trigger in the database refuses every other move, see `campaign_moves` in the migrations.
CAMPAIGN_MOVES: Mapping[CampaignState, frozenset[CampaignState]] = {
    CampaignState.DRAFT: frozenset({CampaignState.SCHEDULED, CampaignState.CANCELLED}),
    CampaignState.SCHEDULED: frozenset({CampaignState.FREEZING, CampaignState.CANCELLED}),
    CampaignState.FREEZING: frozenset({CampaignState.SENDING, CampaignState.PAUSED, CampaignState.CANCELLED}),
    CampaignState.SENDING: frozenset({CampaignState.PAUSED, CampaignState.FINISHED, CampaignState.CANCELLED}),
    CampaignState.PAUSED: frozenset({CampaignState.FREEZING, CampaignState.SENDING, CampaignState.CANCELLED}),
    CampaignState.FINISHED: frozenset(),
    CampaignState.CANCELLED: frozenset(),
}


def _before(new: CampaignState) -> frozenset[CampaignState]:
    return frozenset(old for old, targets in CAMPAIGN_MOVES.items() if new in targets)


ALLOWED_IN: Mapping[Verb, frozenset[CampaignState]] = {
    Verb.LAUNCH: _before(CampaignState.SCHEDULED),
    Verb.BEGIN: frozenset({CampaignState.SCHEDULED}),
    Verb.PAUSE: _before(CampaignState.PAUSED),
    Verb.RESUME: frozenset({CampaignState.PAUSED}),
    Verb.CANCEL: _before(CampaignState.CANCELLED),
    Verb.RESEND: frozenset({CampaignState.FINISHED, CampaignState.CANCELLED}),
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a campaign in people. They add up: each person is in exactly one of these."""

    people: int = 0  # processed so far; the whole audience once it is frozen
    waiting: int = 0  # in no batch yet, or in one that is ready, held or sending
    accepted: int = 0
    left_out: int = 0  # skipped at the claim, or refused alone
    failed: int = 0
    uncertain: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        return self.people - self.waiting


def progress(*, people: int, batches: Iterable[tuple[BatchState, int, int]]) -> Progress:
    """Add up (state, size, of these left out) of all batches."""
    counts = dict.fromkeys(("accepted", "failed", "uncertain", "cancelled", "left_out"), 0)
    for state, size, left_out in batches:
        counts["left_out"] += left_out
        match state:
            case BatchState.ACCEPTED | BatchState.FAILED | BatchState.UNCERTAIN | BatchState.CANCELLED:
                counts[state.value] += size - left_out
            case BatchState.READY | BatchState.HELD | BatchState.SENDING:
                pass
            case _:
                assert_never(state)
    return Progress(people=people, waiting=people - sum(counts.values()), **counts)


def hours_needed(people: int, *, per_minute: int | None, per_day: int | None) -> float:
    """Return how many hours a broadcast to so many people takes at least under our caps."""
    waits = [0.0]
    if per_minute:
        waits.append(people / per_minute / 60)
    if per_day:
        waits.append((people - 1) // per_day * 24.0 if people else 0.0)
    return max(waits)
