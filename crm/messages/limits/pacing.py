"""Pacing: caps on how fast mail is sent, shared by all workers and kept in the database over restarts.

Two statements per batch, however many people and mailbox providers are in it, a third when some of them must wait, and
none while no cap is set. Recipients above a cap wait in a batch of their own; the others are sent.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from sqlalchemy import select, text

from crm.core.db import bigint_array, db, rows_as
from crm.messages import rules
from crm.messages.models import Addressee, Pace

DAY, MINUTE, TO, AFTER = "day", "minute", "to:", "after:"  # names of windows; the last two before a domain
LENGTHS = {DAY: timedelta(days=1), MINUTE: timedelta(minutes=1)}
WAITING = "waiting for its turn"

# One order for all workers, so that they cannot deadlock. A machine whose clock lags opens no new window.
_OPEN_WINDOWS = text("""
    insert into pace (scope, window_start, used)
    select scope, start, 0 from unnest(cast(:scopes as text[]), cast(:starts as timestamptz[])) as asked(scope, start)
    order by scope
    on conflict (scope) do update set window_start = greatest(pace.window_start, excluded.window_start),
        used = case when pace.window_start >= excluded.window_start then pace.used else 0 end
    returning scope, window_start, used
""")
_COUNT = text("""
    update pace set used = used + asked.more, window_start = coalesce(asked.ahead, window_start)
    from unnest(cast(:scopes as text[]), cast(:more as bigint[]), cast(:ahead as timestamptz[])) as asked(scope, more, ahead)
    where pace.scope = asked.scope
""")
# A batch that waits respects quiet hours; a batch of a sequence respects its own send window instead.
_MOVE_TO_NEW_BATCHES = text("""
    with fresh as materialized (
        select number, until, nextval(pg_get_serial_sequence('batch', 'id')) as id
        from unnest(cast(:untils as timestamptz[])) with ordinality as asked(until, number)
    ), chosen as materialized (
        select m.id, c.time_zone, fresh.id as batch_id
        from unnest(cast(:ids as bigint[]), cast(:groups as bigint[])) as asked(id, number)
        join fresh using (number) join message m on m.id = asked.id join contact c on c.id = m.contact_id
    ), made as (
        insert into batch (id, kind, stream, transport, content_version_id, language, topic, campaign_id, sequence_id,
            time_zones, send_window, size, state, error, created_at, not_before, too_late_at, state_at)
        select fresh.id, kind, stream, transport, content_version_id, language, topic, campaign_id, sequence_id,
            case when send_window is not null then null when fresh.until <= cast(:now as timestamptz) then time_zones
                else (select array_agg(distinct time_zone) from chosen where batch_id = fresh.id) end, send_window,
            (select count(*) from chosen where batch_id = fresh.id), 'ready', cast(:why as text), created_at,
            fresh.until, too_late_at, cast(:now as timestamptz)
        from batch, fresh where batch.id = :batch
    ), moved as (
        update message m set batch_id = chosen.batch_id from chosen where m.id = chosen.id
    )
    update batch set size = size - (select count(*) from chosen) where id = :batch
""")
_PUT_OFF = text("""
    update batch set state = 'ready', error = :why, lease_until = null, state_at = :now, not_before = :until,
        attempts = attempts - 1,
        time_zones = case when send_window is null then coalesce(time_zones, (select array_agg(distinct c.time_zone)
            from message m join contact c on c.id = m.contact_id where m.batch_id = batch.id and m.state is null)) end
    where id = :batch
""")


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Emails per day (UTC), per minute, and per minute to single mailbox providers; None: no cap of ours."""

    per_minute: int | None = None
    per_day: int | None = None
    domains: Mapping[str, int] = field(default_factory=dict)

    @property
    def overall(self) -> dict[str, int]:
        """Window -> cap on all mail."""
        both = {DAY: self.per_day, MINUTE: self.per_minute}
        return {window: cap for window, cap in both.items() if cap is not None}


@dataclass(frozen=True, kw_only=True)
class PutOff:
    """No recipient of a batch may be sent to yet. `all_mail`: the cap on all mail is reached."""

    all_mail: bool


class Limits(Protocol):
    """The columns of the control row that hold the caps."""

    @property
    def per_minute(self) -> int | None: ...
    @property
    def per_day(self) -> int | None: ...
    @property
    def ramp_from(self) -> datetime | None: ...
    @property
    def domain_caps(self) -> dict[str, int] | None: ...


@dataclass(frozen=True, kw_only=True)
class _Wait:
    """Some recipients of a batch (`places` in its list) that wait together until `until`; `then`: the next after them."""

    why: str
    places: Sequence[int]
    until: datetime
    then: datetime


class _Window(NamedTuple):
    """The current window of a cap, and the emails counted in it."""

    scope: str
    window_start: datetime
    used: int


_Windows = Mapping[str, _Window]


def caps(control: Limits, *, now: datetime) -> Caps:
    """Return the caps that hold now; a ramp lowers the cap of the day."""
    limits = [control.per_day, rules.ramp(started=control.ramp_from, now=now) if control.ramp_from else None]
    day = min((limit for limit in limits if limit is not None), default=None)
    return Caps(per_minute=control.per_minute, per_day=day, domains=control.domain_caps or {})


def apply_caps(
    rows: Sequence[Addressee], *, batch_id: int, exempt: bool, caps: Caps, now: datetime
) -> Sequence[Addressee] | PutOff:
    """Count the recipients of a batch against the caps; return those who may be sent to now.

    Transactional mail (`exempt`) is counted and never held back. Recipients above a cap move to batches of their own,
    each due when its cap allows; a batch in which nobody fits is put off whole.
    """
    domains = _domains(rows, caps)
    windows = _open_windows(domains, caps, now)
    if not windows:
        return rows
    held_by = [None] * len(rows) if exempt else rules.share(domains, room=_room(windows, caps))
    waits = _waits(held_by, windows, caps)
    sent = [place for place, cap in enumerate(held_by) if cap is None]
    _count(Counter(domains[place] for place in sent), windows, waits)
    if not waits:
        return rows
    if not sent:
        return _put_off(batch_id, waits, now)
    _move_waiting(batch_id, rows, waits, now)
    return [rows[place] for place in sent]


def _move_waiting(batch_id: int, rows: Sequence[Addressee], waits: Sequence[_Wait], now: datetime) -> None:
    parts = [(wait.until, [rows[place].message_id for place in wait.places]) for wait in waits]
    move_to_new_batches(batch_id, parts, why=WAITING, now=now)


def _domains(rows: Sequence[Addressee], caps: Caps) -> list[str]:
    """Return the domain of each recipient; empty texts where no mailbox provider has a cap."""
    return [row.email.rpartition("@")[2] for row in rows] if caps.domains else [""] * len(rows)


def _put_off(batch_id: int, waits: Sequence[_Wait], now: datetime) -> PutOff:
    first = min(wait.until for wait in waits)
    db.session.execute(_PUT_OFF, {"batch": batch_id, "why": WAITING, "until": first, "now": now})
    return PutOff(all_mail=any(wait.why == rules.ALL_MAIL for wait in waits))


def usage(*, now: datetime) -> dict[str, int]:
    """Return how many emails are counted in the current windows: of the day, of the minute, of each domain."""
    found = {}
    for row in db.session.scalars(select(Pace).where(~Pace.scope.startswith(AFTER))):
        length = LENGTHS.get(row.scope, LENGTHS[MINUTE])
        if row.window_start <= now < row.window_start + length:
            found[row.scope.removeprefix(TO)] = row.used
    return found


def _open_windows(domains: Sequence[str], caps: Caps, now: datetime) -> _Windows:
    """Open, or find, the current window of every cap these domains fall under, and lock them until the commit."""
    minute = now.replace(second=0, microsecond=0)
    starts = {name: minute if name == MINUTE else minute.replace(hour=0, minute=0) for name in caps.overall}
    for domain in caps.domains.keys() & set(domains):
        starts |= {TO + domain: minute, AFTER + domain: minute + LENGTHS[MINUTE]}
    if not starts:
        return {}
    found = db.session.execute(_OPEN_WINDOWS, {"scopes": list(starts), "starts": list(starts.values())})
    return {window.scope: window for window in rows_as(_Window, found)}


def _room(windows: _Windows, caps: Caps) -> dict[str, int]:
    """Return how many more emails each cap allows now."""
    domains = {
        domain: cap - windows[TO + domain].used
        for domain, cap in caps.domains.items()
        if TO + domain in windows
    }
    overall = [cap - windows[name].used for name, cap in caps.overall.items()]
    return domains | ({rules.ALL_MAIL: min(overall)} if overall else {})


def _waits(held_by: Sequence[str | None], windows: _Windows, caps: Caps) -> list[_Wait]:
    """Give each recipient above a cap a time; a mailbox provider's recipients come one minute's worth after the other."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for place, why in enumerate(held_by):
        if why is not None:
            groups[why].append(place)
    waits = []
    for why, held in groups.items():
        if why == rules.ALL_MAIL:
            until = _next_window(windows, caps)
            waits.append(_Wait(why=why, places=held, until=until, then=until))
            continue
        until, most = windows[AFTER + why].window_start, caps.domains[why]
        for start in range(0, len(held), most):
            part = held[start : start + most]
            then = until + LENGTHS[MINUTE] * (len(part) / most)
            waits.append(_Wait(why=why, places=part, until=until, then=then))
            until = then
    return waits


def _next_window(windows: _Windows, caps: Caps) -> datetime:
    """Return when the tightest cap on all mail allows the next email."""
    tightest = min(caps.overall, key=lambda name: caps.overall[name] - windows[name].used)
    return windows[tightest].window_start + LENGTHS[tightest]


def _count(sent: Counter[str], windows: _Windows, waits: Sequence[_Wait]) -> None:
    ahead = {AFTER + wait.why: wait.then for wait in waits}
    more = {scope: sent[scope.removeprefix(TO)] if scope.startswith(TO) else 0 for scope in windows}
    more |= {scope: sent.total() for scope in windows.keys() & LENGTHS.keys()}
    db.session.execute(
        _COUNT,
        {
            "scopes": list(windows),
            "more": [more[scope] for scope in windows],
            "ahead": [ahead.get(scope) for scope in windows],
        },
    )


def move_to_new_batches(
    batch_id: int, parts: Sequence[tuple[datetime, Sequence[int]]], *, why: str | None, now: datetime
) -> None:
    """Move messages of a batch to new batches: per part, when they are due and their ids."""
    chosen = [(message_id, number) for number, (_, ids) in enumerate(parts, 1) for message_id in ids]
    ids, groups = zip(*chosen, strict=True)
    db.session.execute(
        _MOVE_TO_NEW_BATCHES,
        {
            "batch": batch_id,
            "ids": bigint_array(ids),
            "groups": bigint_array(groups),
            "untils": [until for until, _ in parts],
            "why": why,
            "now": now,
        },
    )
