"""The states of batches and messages, their allowed moves, streams, routing, retries and limits. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from crm.mailer import Fate

BATCH_SIZE = 1_000
LEASE = timedelta(seconds=60)  # longer than the provider's timeout and everything around it
MAX_TRIES = 10  # calls that surely sent nothing, before the batch fails
UNCERTAIN_GRACE = timedelta(hours=1)  # how long events have to settle a batch before staff decide
FREQUENCY_CAP = 3  # educational emails per person in seven days; our first week holds three
FREQUENCY_SPAN = timedelta(days=7)
LONGEST_WAIT = timedelta(days=7)  # an educational email that has waited longer is too late
BREAKER_MIN = 200  # messages of a stream or campaign before its rates mean anything
BOUNCE_LIMIT = 0.02  # hard bounces, of messages accepted
COMPLAINT_LIMIT = 0.001  # complaints; Gmail's own advice is to stay under 0.1 %
COMPLAINT_WARN = 0.0008  # near enough to warn staff
ALL_MAIL = "*"  # the cap on all mail, as against the cap of one mailbox provider


class BatchKind(StrEnum):
    """What a batch was made for."""

    TRANSACTIONAL = "transactional"
    SEQUENCE = "sequence"
    CAMPAIGN = "campaign"


class BatchState(StrEnum):
    """The state of a batch, and of every message in it that has none of its own."""

    READY = "ready"
    HELD = "held"  # its sequence or campaign is paused, or its content is not approved any more
    SENDING = "sending"  # an attempt is under way, until its lease ends
    ACCEPTED = "accepted"
    FAILED = "failed"
    UNCERTAIN = "uncertain"  # may have been taken; never sent again blindly
    CANCELLED = "cancelled"


class MessageState(StrEnum):
    """The state of a message that differs from its batch: ours, or the worst that the provider reported."""

    SKIPPED = "skipped"  # at the claim this person could not be written to
    FAILED = "failed"  # refused alone, out of a batch that was accepted
    BLOCKED_POLICY = "blocked_policy"  # no transport may carry it
    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


# A trigger in the database refuses every other move, see `batch_moves` and `message_moves` in the migrations.
BATCH_MOVES: Mapping[BatchState, frozenset[BatchState]] = {
    BatchState.READY: frozenset(
        {BatchState.SENDING, BatchState.HELD, BatchState.FAILED, BatchState.CANCELLED}
    ),
    BatchState.HELD: frozenset({BatchState.READY, BatchState.CANCELLED}),
    BatchState.SENDING: frozenset(
        {BatchState.ACCEPTED, BatchState.READY, BatchState.FAILED, BatchState.UNCERTAIN}
    ),
    # events, a late answer of the attempt itself, or staff settle it
    BatchState.UNCERTAIN: frozenset({BatchState.ACCEPTED, BatchState.READY, BatchState.FAILED}),
    BatchState.FAILED: frozenset({BatchState.READY, BatchState.CANCELLED}),
    BatchState.ACCEPTED: frozenset(),
    BatchState.CANCELLED: frozenset(),
}
# Only for an attempt that gives its number back (`attempts` falls): the claim found that there is no call to make.
MOVES_WITHOUT_CALL: Mapping[BatchState, frozenset[BatchState]] = {
    BatchState.SENDING: frozenset({BatchState.HELD, BatchState.CANCELLED}),
}

# States that events give, from harmless to worst. A bounce may follow a delivery, and a complaint anything.
EVENT_STATES = (
    MessageState.PROCESSED,
    MessageState.DEFERRED,
    MessageState.DELIVERED,
    MessageState.BLOCKED,
    MessageState.DROPPED,
    MessageState.BOUNCED,
    MessageState.UNSUBSCRIBED,
    MessageState.COMPLAINED,
)
# None: the batch speaks for the message. Events only make a state worse, so their order does not matter.
MESSAGE_MOVES: Mapping[MessageState | None, frozenset[MessageState]] = {
    None: frozenset({MessageState.SKIPPED, MessageState.FAILED, *EVENT_STATES}),
    MessageState.SKIPPED: frozenset(EVENT_STATES),
    MessageState.FAILED: frozenset(EVENT_STATES),
    MessageState.BLOCKED_POLICY: frozenset(EVENT_STATES),
} | {state: frozenset(EVENT_STATES[rank + 1 :]) for rank, state in enumerate(EVENT_STATES)}


class Answer(StrEnum):
    """What a person can say with a button in an email, on a page of ours."""

    CALL = "call"  # "I would like a call"
    NOT_NOW = "not_now"  # "Not now"
    GUIDE = "guide"  # "Send me the guide"


ENDING_ANSWERS = frozenset({Answer.CALL})  # after which no email of the same sequence follows


class StreamName(StrEnum):
    """The kinds of mail, by the name that rows and settings hold."""

    TRANSACTIONAL = "transactional"
    TRANSACTIONAL_PHI = "transactional_phi"
    PROSPECT_EDU = "prospect_edu"
    REFERRED_EDU = "referred_edu"
    PROVIDER_NURTURE = "provider_nurture"


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A kind of mail with its own sender, list and rules."""

    name: StreamName
    transactional: bool
    phi: bool  # receiving it tells that the recipient is a patient
    topic: str | None  # the consent it stands on
    sender: str  # which of the clinic's addresses: news or care


STREAMS: dict[str, Stream] = {
    stream.name: stream
    for stream in (
        Stream(name=StreamName.TRANSACTIONAL, transactional=True, phi=False, topic=None, sender="care"),
        Stream(name=StreamName.TRANSACTIONAL_PHI, transactional=True, phi=True, topic=None, sender="care"),
        Stream(
            name=StreamName.PROSPECT_EDU,
            transactional=False,
            phi=False,
            topic="prospect_edu",
            sender="news",
        ),
        Stream(
            name=StreamName.REFERRED_EDU,
            transactional=False,
            phi=True,
            topic="referred_edu",
            sender="news",
        ),
        Stream(
            name=StreamName.PROVIDER_NURTURE,
            transactional=False,
            phi=False,
            topic="provider_nurture",
            sender="news",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class TransportOption:
    """A transport as routing sees it."""

    name: str
    has_baa: bool
    attested: bool  # a named person took responsibility for PHI without a BAA


def route(stream: Stream, options: Sequence[TransportOption]) -> str | None:
    """Return the transport for a stream, or None: a PHI stream needs a BAA or an attestation.

    45 CFR 164.502(e): a covered entity discloses PHI to a vendor only under a business associate agreement.
    """
    if not stream.phi:
        return options[0].name if options else None
    fit = [one.name for one in options if one.has_baa] + [one.name for one in options if one.attested]
    return fit[0] if fit else None


@dataclass(frozen=True, kw_only=True)
class Next:
    """What follows for a batch from the outcome of a call."""

    state: BatchState
    not_before: datetime | None = None
    slow_until: datetime | None = None  # no worker sends before that
    stop_all: bool = False


def after(fate: Fate, *, attempts: int, now: datetime, retry_at: float | None, jitter: float) -> Next:
    """Return what follows from a fate.

    `attempts` counts this one; `retry_at` is unix seconds; `jitter` is in 0..1 and spreads the retries.
    """
    match fate:
        case Fate.ACCEPTED:
            return Next(state=BatchState.ACCEPTED)
        case Fate.THROTTLED:
            until = datetime.fromtimestamp(retry_at, UTC) if retry_at else now + timedelta(seconds=30)
            until = min(max(until, now + timedelta(seconds=1)), now + timedelta(minutes=15))
            not_before = until + timedelta(seconds=2 * jitter)
            return Next(state=BatchState.READY, not_before=not_before, slow_until=until)
        case Fate.UNAUTHORISED:
            # alert emails are not stopped: without the wait they would try the refused key again and again
            return Next(state=BatchState.READY, not_before=now + backoff(attempts, jitter), stop_all=True)
        case Fate.REFUSED_SOME:
            return Next(state=BatchState.READY, not_before=now)
        case Fate.TRY_AGAIN:
            if attempts >= MAX_TRIES:
                return Next(state=BatchState.FAILED)
            return Next(state=BatchState.READY, not_before=now + backoff(attempts, jitter))
        case Fate.UNKNOWN:
            return Next(state=BatchState.UNCERTAIN)
        case Fate.REFUSED:
            return Next(state=BatchState.FAILED)
        case _:
            assert_never(fate)


def backoff(attempts: int, jitter: float) -> timedelta:
    """Return how long to wait after the n-th failed try: 5 s doubling to an hour, the last half of it random."""
    whole = min(5.0 * 2 ** (attempts - 1), 3_600.0)
    return timedelta(seconds=whole / 2 + whole / 2 * jitter)


def breaker(*, accepted: int, bounced: int, complained: int) -> str | None:
    """Return why a stream or campaign must stop; None while its rates are fine or too few emails were sent."""
    if accepted < BREAKER_MIN:
        return None
    if complained / accepted >= COMPLAINT_LIMIT:
        return f"complaints: {complained:,} of {accepted:,}"
    if bounced / accepted >= BOUNCE_LIMIT:
        return f"bounces: {bounced:,} of {accepted:,}"
    return None


def near_limit(*, accepted: int, complained: int) -> bool:
    """Tell whether complaints are close to the limit: from 0.08 %."""
    return accepted >= BREAKER_MIN and complained / accepted >= COMPLAINT_WARN


def share(domains: Sequence[str], *, room: Mapping[str, int]) -> list[str | None]:
    """Return for each email which cap holds it back, its domain's or `ALL_MAIL`; None if it may be sent.

    `domains` are the recipients' domains in order; `room` is how many more emails a domain takes, and under
    `ALL_MAIL` all domains together. What is not in `room` has no cap.
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
    """Return how many emails a new sending domain may send today (UTC): 200, then half as many again each day."""
    days = max((now.astimezone(UTC).date() - started.astimezone(UTC).date()).days, 0)
    return int(min(first_day * growth ** min(days, 60), 10_000_000))
