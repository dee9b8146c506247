"""What may leave by which door, and what follows from each answer. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

BATCH_SIZE = 1_000
LEASE = timedelta(seconds=60)  # longer than the provider's timeout and everything around it
MAX_TRIES = 10  # of answers that say "surely not taken, try again"
UNCERTAIN_GRACE = timedelta(hours=1)  # how long events have to settle a batch before people are asked
FREQUENCY_CAP = 3  # educational emails per person in seven days; our first week holds three
FREQUENCY_SPAN = timedelta(days=7)
BREAKER_MIN = 200  # messages of a stream or campaign before its rates mean anything
BOUNCE_LIMIT = 0.02  # hard bounces, of messages accepted
COMPLAINT_LIMIT = 0.001  # complaints; Gmail's own advice is to stay under 0.1 %
COMPLAINT_WARN = 0.0008  # near enough to tell somebody
ALL_MAIL = "*"  # what holds somebody back is a cap on all mail, not one on their mailbox provider


class State(StrEnum):
    """Of a batch, and so of every message in it that has no fate of its own."""

    READY = "ready"
    HELD = "held"  # a person paused what it belongs to
    SENDING = "sending"  # an attempt is under way, until its lease ends
    ACCEPTED = "accepted"
    FAILED = "failed"
    UNCERTAIN = "uncertain"  # may have been taken; never sent again blindly
    CANCELLED = "cancelled"


MOVES: dict[State, frozenset[State]] = {
    State.READY: frozenset({State.SENDING, State.HELD, State.FAILED, State.CANCELLED}),
    State.HELD: frozenset({State.READY, State.CANCELLED}),
    State.SENDING: frozenset({State.ACCEPTED, State.READY, State.FAILED, State.UNCERTAIN}),
    # events, a late answer of the attempt itself, or a person settle it
    State.UNCERTAIN: frozenset({State.ACCEPTED, State.READY, State.FAILED}),
    State.FAILED: frozenset({State.READY, State.CANCELLED}),
    State.ACCEPTED: frozenset(),
    State.CANCELLED: frozenset(),
}


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A kind of mail with its own sender, list and rules."""

    name: str
    transactional: bool
    phi: bool  # that it is sent at all tells that someone is a patient
    topic: str | None  # the consent it stands on
    sender: str  # which of the clinic's addresses: news or care


STREAMS = {
    stream.name: stream
    for stream in (
        Stream(name="transactional", transactional=True, phi=False, topic=None, sender="care"),
        Stream(name="transactional_phi", transactional=True, phi=True, topic=None, sender="care"),
        Stream(name="prospect_edu", transactional=False, phi=False, topic="prospect_edu", sender="news"),
        Stream(name="referred_edu", transactional=False, phi=True, topic="referred_edu", sender="news"),
        Stream(
            name="provider_nurture", transactional=False, phi=False, topic="provider_nurture", sender="news"
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class TransportOption:
    """A transport as routing sees it."""

    name: str
    has_baa: bool
    attested: bool  # a named person took responsibility for PHI without a BAA


def route(stream: Stream, doors: Sequence[TransportOption]) -> str | None:
    """Return the transport for a stream, or None: a PHI stream goes only where a BAA or an attestation is.

    45 CFR 164.502(e): a covered entity discloses PHI to a vendor only under a business associate agreement.
    """
    if not stream.phi:
        return doors[0].name if doors else None
    fit = [door.name for door in doors if door.has_baa] + [door.name for door in doors if door.attested]
    return fit[0] if fit else None


@dataclass(frozen=True, kw_only=True)
class Next:
    """What becomes of a batch after an answer."""

    state: State
    not_before: datetime | None = None
    slow_until: datetime | None = None  # nobody sends before that
    stop_all: bool = False


def after(fate: str, *, attempts: int, now: datetime, retry_at: float | None, jitter: float) -> Next:
    """Return what follows from a fate of `crm.mailer.Fate`.

    `attempts` counts this one; `retry_at` is unix seconds; `jitter` is in 0..1 and spreads the retries.
    """
    if fate == "accepted":
        return Next(state=State.ACCEPTED)
    if fate == "throttled":
        until = datetime.fromtimestamp(retry_at, UTC) if retry_at else now + timedelta(seconds=30)
        until = min(max(until, now + timedelta(seconds=1)), now + timedelta(minutes=15))
        return Next(state=State.READY, not_before=until + timedelta(seconds=2 * jitter), slow_until=until)
    if fate == "unauthorised":
        return Next(state=State.READY, not_before=now, stop_all=True)
    if fate == "refused_some":
        return Next(state=State.READY, not_before=now)
    if fate == "try_again":
        if attempts >= MAX_TRIES:
            return Next(state=State.FAILED)
        return Next(state=State.READY, not_before=now + backoff(attempts, jitter))
    if fate == "unknown":
        return Next(state=State.UNCERTAIN)
    return Next(state=State.FAILED)


def backoff(attempts: int, jitter: float) -> timedelta:
    """Return how long to wait after the n-th failed try: 5 s doubling to an hour, the last half of it random."""
    whole = min(5.0 * 2 ** (attempts - 1), 3_600.0)
    return timedelta(seconds=whole / 2 + whole / 2 * jitter)


def breaker(*, accepted: int, bounced: int, complained: int) -> str | None:
    """Return why a stream or campaign must stop; None while all is well or too little was sent to tell."""
    if accepted < BREAKER_MIN:
        return None
    if complained / accepted >= COMPLAINT_LIMIT:
        return f"complaints: {complained:,} of {accepted:,}"
    if bounced / accepted >= BOUNCE_LIMIT:
        return f"bounces: {bounced:,} of {accepted:,}"
    return None


def near_limit(*, accepted: int, complained: int) -> bool:
    """Tell whether complaints have come close to where mail stops: from 0.08 %."""
    return accepted >= BREAKER_MIN and complained / accepted >= COMPLAINT_WARN


def share(domains: Sequence[str], *, room: Mapping[str, int]) -> list[str | None]:
    """Say of each email whether it may leave (None), or which cap holds it back: its domain's, or that on all mail.

    `domains` are the recipients' domains in their order; `room` tells how many more a domain takes, and all of them
    together (under `ALL_MAIL`). What is not in `room` has no cap.
    """
    left = dict(room)
    found: list[str | None] = []
    for domain in domains:
        why = next((cap for cap in (domain, ALL_MAIL) if left.get(cap, 1) <= 0), None)
        found.append(why)
        if why is None:
            for cap in (domain, ALL_MAIL):
                if cap in left:
                    left[cap] -= 1
    return found


def ramp(*, started: datetime, now: datetime, first_day: int = 200, growth: float = 1.5) -> int:
    """Return how many emails a young sending domain may send today (UTC): 200, then half as many again each day."""
    days = max((now.astimezone(UTC).date() - started.astimezone(UTC).date()).days, 0)
    return int(min(first_day * growth ** min(days, 60), 10_000_000))
