"""Claiming a batch, the first half of a send: mark it as sending, check again who may get it, build the call.

Everything here is one transaction; its commit is the last step before the provider is called. A crash inside it
leaves the batch `ready`; a crash after it leaves it `sending`, which the sweep turns into `uncertain`.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import TextClause, text

from crm.consent.queries import REFUSAL_CASE, REFUSAL_JOINS
from crm.content import service as content
from crm.core import clock, current, queue, time_zones
from crm.core.config import Clinic
from crm.core.db import db, rows_as
from crm.mailer import Mailer, PayloadError, PreparedCall
from crm.messages import rules, transports
from crm.messages.appointments import OUT_OF_DATE, OUT_OF_DATE_REASON
from crm.messages.engine import envelope, personalize
from crm.messages.limits import copy_guard, frequency, pacing, quiet_hours, send_window, switches
from crm.messages.models import Addressee, ClaimedBatch
from crm.messages.rules import STREAMS, BatchState, Stream
from crm.staff import alerts

OUTSIDE_WINDOW = "waiting for the hours in which this email may be sent"
AFTER_TOUCH = "waiting after a call, reply or visit"
TRY_AGAIN = timedelta(minutes=10)  # after which a batch that could not be built is tried again

# The one condition under which a batch may be sent, claimed by its id or as the next in line.
_MAY_LEAVE = f"""
    state = 'ready' and not_before <= :now and (too_late_at is null or too_late_at > :now)
        and not exists (select 1 from stream_stop s where s.stream = b.stream)
        and {switches.OPEN}
        and {quiet_hours.is_day_everywhere("b.time_zones")}
        and (b.campaign_id is null
            or exists (select 1 from campaign k where k.id = b.campaign_id and k.state in ('freezing', 'sending', 'finished')))
        and (b.sequence_id is null or exists (select 1 from sequence q where q.id = b.sequence_id and q.state = 'live'))
"""
# The claim of a broadcast inserts message rows, which the frequency cap counts. A concurrent claim cannot see these
# rows before the commit, so it waits for the exclusive lock. Claims of one broadcast share the lock, because no person
# is in two of its batches; it counts as running while a batch of it can be claimed: all rows of the others are there.
# The lock is held before the next statement reads.
_TURNS = 7_302_003  # the advisory lock key of claims while a broadcast runs
_TURN = f"""
    (select case when kind = 'transactional' or running.campaigns = 0 then null
            when running.campaigns > 1 or campaign_id is null then cast(pg_advisory_xact_lock({_TURNS}) as text)
            else cast(pg_advisory_xact_lock_shared({_TURNS}) as text) end
        from (select count(*) as campaigns from (select 1 from campaign k where k.state in ('freezing', 'sending') and exists (
            select 1 from batch open where open.campaign_id = k.id and open.state = 'ready' and open.not_before <= :now
        ) limit 2) claimable) running)
"""
_TO_SENDING = f"""
    update batch set state = 'sending', attempt = :attempt, attempts = batch.attempts + 1, lease_until = :lease,
        state_at = :now
    from found, sending_control control where batch.id = found.id
    returning batch.id, kind, stream, transport, content_version_id, language, topic, campaign_id,
        contact_ids is not null as frozen, attempts, per_minute, per_day,
        ramp_from, domain_caps, send_window,
        {_TURN} as turn
"""
_CLAIM_ONE = text(
    f"with found as (select id from batch b where id = :id and {_MAY_LEAVE} for update) {_TO_SENDING}"
)
_CLAIM_NEXT = text(f"""
    with found as (select id from batch b where kind <> 'transactional' and {_MAY_LEAVE}
        order by not_before, id limit 1 for update skip locked) {_TO_SENDING}
""")

# The day of the opt-in in the clinic's time zone.
_YES_ON = "cast(cs.at at time zone cast(:zone as text) as date)"

# When staff last spoke or wrote to a person, or saw them, if that is recent: educational mail waits.
_TOUCHED = """
    (case when not cast(:transactional as boolean) and c.touched_at > cast(:touched as timestamptz) then c.touched_at end)
"""
# The next two are subqueries with a limit, not `exists`: PostgreSQL would answer that for all people at once, from the
# whole table. Whether the person got this version before, in a sequence or another broadcast; first, once for all
# people, whether another broadcast or a sequence has it.
_HAD = f"""
    (k.id is not null and not k.repeat_allowed
        and (select exists (select 1 from batch o where o.content_version_id = cast(:version as bigint)
            and o.campaign_id is distinct from cast(:campaign as bigint)))
        and (select true from message h join batch hb on hb.id = h.batch_id
            where h.contact_id = c.id and h.content_version_id = cast(:version as bigint)
                and h.campaign_id is distinct from cast(:campaign as bigint)
                and {frequency.may_have_reached("h", "hb")} limit 1))
"""
# Whether the person got an excluded tag after the audience was frozen.
_EXCLUDED = """
    (k.audience -> 'exclude_tags' <> '[]' and (select true from contact_tag t
        where t.contact_id = c.id and k.audience -> 'exclude_tags' @> to_jsonb(t.tag) limit 1))
"""
# The message rows of a broadcast are written here, once, skipped ones with their reason.
_WRITE_FROZEN = text(f"""
    with asked as materialized (
        select nextval('message_id_seq') as id, c.id as contact_id, c.email, c.first_name, {_YES_ON} as day,
            cs.record_id, null::jsonb as params,
            {_TOUCHED} as touched_at, c.time_zone,
            coalesce({REFUSAL_CASE}, case when {_EXCLUDED} then 'excluded'
                when {frequency.is_capped("c.id")} then 'frequency_cap' when {_HAD} then 'had_already' end) as refusal
        from batch b join campaign k on k.id = b.campaign_id
        cross join lateral unnest(b.contact_ids) as a(contact_id) join contact c on c.id = a.contact_id
        {REFUSAL_JOINS}
        where b.id = :batch
    ), written as (
        insert into message (id, batch_id, contact_id, content_version_id, consent_record_id, campaign_id,
            created_at, state, reason, state_at)
        select id, cast(:batch as bigint), contact_id, cast(:version as bigint), record_id, cast(:campaign as bigint),
            cast(:now as timestamptz), case when refusal is not null then 'skipped' end, refusal,
            case when refusal is not null then cast(:now as timestamptz) end
        from asked
    ), counted as (
        update batch set contact_ids = null, left_out = (select count(*) from asked where refusal is not null)
        where id = :batch
    )
    select id as message_id, contact_id, email, first_name, time_zone, day, params, touched_at from asked where refusal is null
""")

# Message rows that exist (of a sequence, transactional, or of an earlier attempt) are checked again.
_CHECK_AGAIN = text(f"""
    with asked as materialized (
        select m.id, m.contact_id, c.email, c.first_name, c.time_zone, {_YES_ON} as day, m.params,
            {_TOUCHED} as touched_at, coalesce({REFUSAL_CASE}, case
                when e.state = 'exited' and e.reason is distinct from 'by_plan' then 'left_sequence'
                when coalesce(m.enrolment_id, m.campaign_id) is not null
                    and {frequency.is_capped("c.id", but="and r.id <> m.id")} then 'frequency_cap'
                when {_EXCLUDED} then 'excluded' when {_HAD} then 'had_already'
                when {OUT_OF_DATE} then '{OUT_OF_DATE_REASON}' end) as refusal
        from message m join contact c on c.id = m.contact_id left join enrolment e on e.id = m.enrolment_id
        left join campaign k on k.id = m.campaign_id {REFUSAL_JOINS}
        where m.batch_id = :batch and m.state is null
    ), skipped as (
        update message m set state = 'skipped', reason = a.refusal, state_at = :now
        from asked a where m.id = a.id and a.refusal is not null
    ), counted as (
        update batch set left_out = left_out + (select count(*) from asked where refusal is not null)
        where id = :batch
    )
    select id as message_id, contact_id, email, first_name, time_zone, day, params, touched_at
    from asked where refusal is null order by id
""")

_RELEASE = text("""
    update batch set state = :state, error = :error, lease_until = null, state_at = :now, not_before = :now,
        attempts = attempts - 1
    where id = :id
""")
_SET_ASIDE = text("""
    update batch set not_before = :until, error = :error, state_at = :now where id = :id and state = 'ready'
""")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A call ready to be made, and the token that fences it off from any other attempt."""

    batch_id: int
    attempt: uuid.UUID
    number: int
    call: PreparedCall
    message_ids: Sequence[int]
    mark: copy_guard.ClaimMark
    until: float  # by time.monotonic(): after this the lease may have expired


class Unbuildable(Exception):
    """A batch that cannot be built. Raised so that the claim is rolled back, see `set_aside`."""

    def __init__(self, batch_id: int, cause: Exception) -> None:
        super().__init__(f"batch {batch_id}")
        self.batch_id, self.kind = batch_id, type(cause).__name__


class NoCall(StrEnum):
    """Why there is no call to make."""

    NOTHING_READY = "nothing_ready"  # no batch may be sent now
    PACED = "paced"  # the cap on all mail is reached
    BATCH_DONE = "batch_done"  # this batch needs no call; there may be others


def claim_batch(batch_id: int, *, clinic: Clinic, public_url: str) -> Attempt | None:
    """Claim this batch if it may be sent and build its call; None when there is nothing to send now."""
    found = _claim(_CLAIM_ONE, {"id": batch_id}, clinic=clinic, public_url=public_url)
    return found if isinstance(found, Attempt) else None


def claim_next_batch(*, clinic: Clinic, public_url: str) -> Attempt | NoCall:
    """Claim the oldest batch of bulk mail that may be sent and build its call; two callers never get the same."""
    return _claim(_CLAIM_NEXT, {}, clinic=clinic, public_url=public_url)


def _claim(which: TextClause, given: dict[str, int], *, clinic: Clinic, public_url: str) -> Attempt | NoCall:
    now, token, started = clock.now(), uuid.uuid4(), time.monotonic()
    marks = copy_guard.parameters()  # before the first statement
    attempt = {"attempt": token, "lease": now + rules.LEASE, "now": now}
    found = db.session.execute(which, {**given, **marks, **attempt})
    batches = rows_as(ClaimedBatch, found)
    if not batches:
        return NoCall.NOTHING_READY
    batch = batches[0]
    try:
        built = _build(batch, now, clinic=clinic, public_url=public_url)
    except queue.INTERRUPTIONS:
        raise
    except Exception as error:  # whatever is wrong with this batch must not stop the others
        raise Unbuildable(batch.id, error) from error
    if isinstance(built, NoCall):
        return built
    call, rows = built
    detail = {"size": len(rows), "attempt": batch.attempts}
    mark = copy_guard.number_claim(batch.id, detail=detail)
    return Attempt(
        batch_id=batch.id,
        attempt=token,
        number=batch.attempts,
        call=call,
        message_ids=[row.message_id for row in rows],
        mark=mark,
        until=started + rules.LEASE.total_seconds() / 2,
    )


def _build(
    batch: ClaimedBatch, now: datetime, *, clinic: Clinic, public_url: str
) -> tuple[PreparedCall, Sequence[Addressee]] | NoCall:
    """Return the call of a claimed batch and whom it reaches."""
    rendered = _content(batch, now)
    if rendered is None:
        return NoCall.BATCH_DONE
    rows = _people(batch, now, zone=clinic.time_zone)
    if isinstance(rows, NoCall):
        return rows
    mailer = transports.mailers()[batch.transport]
    call = _call(batch, rows, rendered, mailer=mailer, clinic=clinic, public_url=public_url, now=now)
    return (call, rows) if call is not None else NoCall.BATCH_DONE


def set_aside(broken: Unbuildable) -> None:
    """Let a batch that cannot be built wait, with an alert; it is tried again by itself."""
    now = clock.now()
    given = {
        "id": broken.batch_id,
        "now": now,
        "until": now + TRY_AGAIN,
        "error": f"cannot be built: {broken.kind}",
    }
    db.session.execute(_SET_ASIDE, given)
    alerts.raise_alert(
        key=f"batch:{broken.batch_id}",
        level="danger",
        text=f"An email cannot be built ({broken.kind}). It is tried again every ten minutes; other emails are sent.",
        link=f"/console/mail/{broken.batch_id}",
    )


def _content(batch: ClaimedBatch, now: datetime) -> content.Rendered | None:
    """Return the approved content of this batch; hold the batch when its content is not approved any more."""
    version = content.sendable(batch.content_version_id, now=now)
    if isinstance(version, content.Sendable):
        return version.rendered
    _release(batch.id, state=BatchState.HELD, error=version.reason, now=now)
    alerts.raise_alert(
        key=f"content:{batch.content_version_id}",
        level="warning",
        text="Approved content changed or expired. Emails with it are on hold.",
        link=f"/console/content/versions/{batch.content_version_id}",
    )
    return None


def _people(batch: ClaimedBatch, now: datetime, *, zone: str) -> Sequence[Addressee] | NoCall:
    """Return who gets this batch now: who may be written to, within the pacing limits."""
    stream = STREAMS[batch.stream]
    rows = _who_may_get_it_now(
        batch, _rows(batch, stream, now, zone=zone), now, hold=current.settings().touch_hold
    )
    rows = _first_of_each_address(batch.id, rows, now)
    if not rows:
        _release(batch.id, state=BatchState.CANCELLED, error="nobody left to send to", now=now)
        return NoCall.BATCH_DONE
    caps = pacing.caps(batch, now=now)
    allowed = pacing.apply_caps(rows, batch_id=batch.id, exempt=stream.transactional, caps=caps, now=now)
    if isinstance(allowed, pacing.PutOff):
        return NoCall.PACED if allowed.all_mail else NoCall.BATCH_DONE
    return allowed


def _call(
    batch: ClaimedBatch,
    rows: Sequence[Addressee],
    rendered: content.Rendered,
    *,
    mailer: Mailer,
    clinic: Clinic,
    public_url: str,
    now: datetime,
) -> PreparedCall | None:
    """Return the built call; a batch that cannot be built fails, with an alert."""
    stream = STREAMS[batch.stream]
    try:
        recipients = personalize.recipients(
            rows, rendered=rendered, stream=stream, clinic=clinic, public_url=public_url, batch_id=batch.id
        )
        return mailer.prepare(envelope.envelope(rendered, stream=stream, clinic=clinic), recipients)
    except (PayloadError, content.ContentError) as error:
        _release(batch.id, state=BatchState.FAILED, error=str(error)[:200], now=now)
    alerts.raise_alert(
        key=f"batch:{batch.id}", level="danger", text="An email could not be built.", link="/console/mail"
    )
    return None


def _rows(batch: ClaimedBatch, stream: Stream, now: datetime, *, zone: str) -> Sequence[Addressee]:
    given = {
        "batch": batch.id,
        "now": now,
        "topic": batch.topic,
        "transactional": stream.transactional,
        "zone": zone,
        "touched": now - current.settings().touch_hold,
        "week": now - rules.FREQUENCY_SPAN,
        "cap": rules.FREQUENCY_CAP,
        "version": batch.content_version_id,
        "campaign": batch.campaign_id,
    }
    asked = db.session.execute(_WRITE_FROZEN if batch.frozen else _CHECK_AGAIN, given)
    return rows_as(Addressee, asked)


def _who_may_get_it_now(
    batch: ClaimedBatch, rows: Sequence[Addressee], now: datetime, *, hold: timedelta
) -> Sequence[Addressee]:
    """Move people whose hours are closed, or with whom staff were just in touch, to batches that wait for them."""
    window = _hours(batch, now)
    if window is None:
        return rows
    opens = _opens({(row.time_zone, row.touched_at) for row in rows}, window, now, hold=hold)
    if all(until <= now for until in opens.values()):
        return rows
    later: dict[str, dict[datetime, list[int]]] = {
        OUTSIDE_WINDOW: defaultdict(list),
        AFTER_TOUCH: defaultdict(list),
    }
    ready = []
    for row in rows:
        until = opens[row.time_zone, row.touched_at]
        if until <= now:
            ready.append(row)
        else:
            later[AFTER_TOUCH if row.touched_at else OUTSIDE_WINDOW][until].append(row.message_id)
    for why, parts in later.items():
        if parts:
            pacing.move_to_new_batches(batch.id, sorted(parts.items()), why=why, now=now)
    return ready


def _opens(
    pairs: Iterable[tuple[str, datetime | None]],
    window: send_window.Window,
    now: datetime,
    *,
    hold: timedelta,
) -> dict[tuple[str, datetime | None], datetime]:
    """Return for each time zone and last touch of staff from when people may be sent to."""
    return {
        (zone, touched): send_window.into_window(
            touched + hold if touched else now, window, time_zones.zone_info(zone)
        )
        for zone, touched in pairs
    }


def _hours(batch: ClaimedBatch, now: datetime) -> send_window.Window | None:
    """Return the send window of a batch, in each recipient's time zone; None if it may be sent at any hour."""
    if batch.send_window is None:
        return quiet_hours.DAYTIME if batch.campaign_id is not None else None
    return (
        None
        if send_window.is_any_hour(batch.send_window, now)
        else send_window.window_from(batch.send_window)
    )


def _first_of_each_address(batch_id: int, rows: Sequence[Addressee], now: datetime) -> Sequence[Addressee]:
    """Move a second person at the same address to another batch: one call may name an address once."""
    if len({row.email for row in rows}) == len(rows):
        return rows
    seen: set[str] = set()
    first: list[Addressee] = []
    again: list[Addressee] = []
    for row in rows:
        (again if row.email in seen else first).append(row)
        seen.add(row.email)
    if again:
        pacing.move_to_new_batches(batch_id, [(now, [row.message_id for row in again])], why=None, now=now)
    return first


def _release(batch_id: int, *, state: BatchState, error: str, now: datetime) -> None:
    """Give a batch back without a call; the attempt does not count."""
    db.session.execute(_RELEASE, {"id": batch_id, "state": state, "error": error, "now": now})
