"""The first half of a send: take a batch, ask once more who may get it, and build the call.

Everything here is one transaction whose commit is the last thing before the provider is called. Dying inside it
leaves the batch `ready`; dying after it leaves it `sending`, which the sweep turns into `uncertain`.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, TextClause, text

from crm.audit import service as audit
from crm.consent.queries import REFUSAL_CASE, REFUSAL_JOINS
from crm.content import service as content
from crm.core import clock
from crm.core.config import Clinic
from crm.core.db import db
from crm.mailer import Mailer, PayloadError
from crm.messages import rules, transports
from crm.messages.engine import envelope, personalize
from crm.messages.limits import pacing, quiet_hours, switches
from crm.messages.rules import STREAMS, Stream
from crm.staff import alerts

# The one condition under which a batch may leave, whoever asks and however: by its number, or as the next in line.
_MAY_LEAVE = f"""
    state = 'ready' and not_before <= :now and (too_late_at is null or too_late_at > :now)
        and not exists (select 1 from stream_stop s where s.stream = b.stream)
        and {switches.OPEN}
        and not exists (select 1 from unnest(b.time_zones) z where not {quiet_hours.is_day("z")})
"""
_MOVE = """
    update batch set state = 'sending', attempt = :attempt, attempts = batch.attempts + 1, lease_until = :lease,
        state_at = :now
    from found, sending_control control where batch.id = found.id
    returning batch.id, kind, stream, transport, content_version_id, language, topic, campaign_id,
        contact_ids is not null as frozen, attempts, per_minute, per_day,
        ramp_from, domain_caps
"""
_TAKE = text(f"with found as (select id from batch b where id = :id and {_MAY_LEAVE} for update) {_MOVE}")
_TAKE_NEXT = text(f"""
    with found as (select id from batch b where kind <> 'transactional' and {_MAY_LEAVE}
        order by not_before, id limit 1 for update skip locked) {_MOVE}
""")

# The day of the yes as the clinic counts days.
_YES_ON = "cast(cs.at at time zone cast(:zone as text) as date)"

# A broadcast's message rows are written here, once, skipped ones with their reason.
_WRITE = text(f"""
    with asked as materialized (
        select nextval('message_id_seq') as id, c.id as contact_id, c.email, c.first_name, {_YES_ON} as day,
            cs.record_id, null::jsonb as params,
            coalesce({REFUSAL_CASE}, case when (select count(*) from (
                select 1 from message r where r.contact_id = c.id and r.created_at > cast(:week as timestamptz)
                    and r.state is distinct from 'skipped' and (r.enrolment_id is not null or r.campaign_id is not null)
                limit cast(:cap as int)) recent) >= cast(:cap as int) then 'frequency_cap' end) as refusal
        from batch b cross join lateral unnest(b.contact_ids) as a(contact_id) join contact c on c.id = a.contact_id
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
    select id, contact_id, email, first_name, day, params from asked where refusal is null
""")

# Rows that are there already (a sequence's, a transactional one's, or a second attempt's) are asked about again.
_ASK_AGAIN = text(f"""
    with asked as materialized (
        select m.id, m.contact_id, c.email, c.first_name, {_YES_ON} as day, m.params, {REFUSAL_CASE} as refusal
        from message m join contact c on c.id = m.contact_id {REFUSAL_JOINS}
        where m.batch_id = :batch and m.state is null
    ), skipped as (
        update message m set state = 'skipped', reason = a.refusal, state_at = :now
        from asked a where m.id = a.id and a.refusal is not null
    ), counted as (
        update batch set left_out = left_out + (select count(*) from asked where refusal is not null)
        where id = :batch
    )
    select id, contact_id, email, first_name, day, params from asked where refusal is null order by id
""")

_LET_GO = text("""
    update batch set state = :state, error = :error, lease_until = null, state_at = :now, not_before = :now,
        attempts = attempts - 1
    where id = :id
""")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A call ready to be made, and the token that fences it off from any other attempt."""

    batch_id: int
    attempt: uuid.UUID
    number: int
    mailer: Mailer
    prepared: Any
    message_ids: Sequence[int]
    until: float  # by time.monotonic(): calling later could collide with a decision taken meanwhile


class Left(StrEnum):
    """Why there is no call to make."""

    NOTHING = "nothing"  # no batch may leave now
    LATER = "later"  # our own pace says wait
    NOBODY = "nobody"  # this batch is dealt with; there may be others


def claim_batch(batch_id: int, *, clinic: Clinic, public_url: str) -> Attempt | None:
    """Take this batch if it may leave and build its call; None when there is nothing to send now."""
    found = _claim(_TAKE, {"id": batch_id}, clinic=clinic, public_url=public_url)
    return found if isinstance(found, Attempt) else None


def claim_next_batch(*, clinic: Clinic, public_url: str) -> Attempt | Left:
    """Take the oldest batch of bulk mail that may leave and build its call; two callers never get the same."""
    return _claim(_TAKE_NEXT, {}, clinic=clinic, public_url=public_url)


def _claim(which: TextClause, given: dict[str, Any], *, clinic: Clinic, public_url: str) -> Attempt | Left:
    now, token, started = clock.now(), uuid.uuid4(), time.monotonic()
    taken = db.session.execute(
        which, {**given, "attempt": token, "lease": now + rules.LEASE, "now": now}
    ).first()
    if taken is None:
        return Left.NOTHING
    rendered = _content(taken, now)
    if rendered is None:
        return Left.NOBODY
    rows = _people(taken, now, zone=clinic.time_zone)
    if isinstance(rows, Left):
        return rows
    mailer = transports.mailers()[taken.transport]
    prepared = _call(taken, rows, rendered, mailer=mailer, clinic=clinic, public_url=public_url, now=now)
    if prepared is None:
        return Left.NOBODY
    detail = {"size": len(rows), "attempt": taken.attempts}
    audit.record_at_once("batch.sending", object_type="batch", object_id=taken.id, detail=detail)
    return Attempt(
        batch_id=taken.id,
        attempt=token,
        number=taken.attempts,
        mailer=mailer,
        prepared=prepared,
        message_ids=[row[0] for row in rows],
        until=started + rules.LEASE.total_seconds() / 2,
    )


def _content(taken: Row[Any], now: datetime) -> content.Rendered | None:
    """Return what is approved for this batch; hold the batch when nothing is any more."""
    version = content.sendable(taken.content_version_id, now=now)
    if isinstance(version, content.Sendable):
        return version.rendered
    _let_go(taken.id, state="held", error=version.reason, now=now)
    alerts.raise_alert(
        key=f"content:{taken.content_version_id}",
        level="warning",
        text="Approved content changed or expired; emails with it wait.",
        link=f"/console/content/versions/{taken.content_version_id}",
    )
    return None


def _people(taken: Row[Any], now: datetime, *, zone: str) -> Sequence[Row[Any]] | Left:
    """Return who gets this batch now, after every question and within our own pace."""
    stream = STREAMS[taken.stream]
    rows = _first_of_each_address(taken.id, _rows(taken.id, taken, stream, now, zone=zone), now)
    if not rows:
        _let_go(taken.id, state="cancelled", error="nobody left to send to", now=now)
        return Left.NOBODY
    caps = pacing.caps(taken, now=now)
    going = pacing.take(rows, batch_id=taken.id, free=stream.transactional, caps=caps, now=now)
    if isinstance(going, pacing.Later):
        return Left.LATER if going.everybody else Left.NOBODY
    return going


def _call(
    taken: Row[Any],
    rows: Sequence[Row[Any]],
    rendered: content.Rendered,
    *,
    mailer: Mailer,
    clinic: Clinic,
    public_url: str,
    now: datetime,
) -> Any | None:
    """Return the built call; a batch that cannot be built has failed, and staff are told."""
    stream = STREAMS[taken.stream]
    try:
        recipients = personalize.recipients(
            rows, rendered=rendered, stream=stream, clinic=clinic, public_url=public_url, batch_id=taken.id
        )
        return mailer.prepare(envelope.envelope(rendered, stream=stream, clinic=clinic), recipients)
    except (PayloadError, content.ContentError) as error:
        _let_go(taken.id, state="failed", error=str(error)[:200], now=now)
    alerts.raise_alert(
        key=f"batch:{taken.id}", level="danger", text="An email could not be built.", link="/console/mail"
    )
    return None


def _rows(batch_id: int, taken: Row[Any], stream: Stream, now: datetime, *, zone: str) -> Sequence[Row[Any]]:
    given = {
        "batch": batch_id,
        "now": now,
        "topic": taken.topic,
        "transactional": stream.transactional,
        "zone": zone,
    }
    if not taken.frozen:
        return db.session.execute(_ASK_AGAIN, given).all()
    return db.session.execute(
        _WRITE,
        {
            **given,
            "version": taken.content_version_id,
            "campaign": taken.campaign_id,
            "week": now - rules.FREQUENCY_SPAN,
            "cap": rules.FREQUENCY_CAP,
        },
    ).all()


def _first_of_each_address(batch_id: int, rows: Sequence[Row[Any]], now: datetime) -> Sequence[Row[Any]]:
    """One call may name an address once; a second person at the same address goes with a batch of their own."""
    if len({row.email for row in rows}) == len(rows):
        return rows
    seen: set[str] = set()
    first: list[Row[Any]] = []
    again: list[Row[Any]] = []
    for row in rows:
        (again if row.email in seen else first).append(row)
        seen.add(row.email)
    if again:
        pacing.set_aside(batch_id, [(now, [row.id for row in again])], why=None, now=now)
    return first


def _let_go(batch_id: int, *, state: str, error: str, now: datetime) -> None:
    """Give a batch back without having called anybody; this attempt does not count."""
    db.session.execute(_LET_GO, {"id": batch_id, "state": state, "error": error, "now": now})
