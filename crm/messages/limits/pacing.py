"""How fast mail may leave: caps shared by all workers, kept in the database so that a restart forgets nothing.

Two statements per batch, however many people and mailbox providers are in it, a third when some of them must wait, and
none while no cap is set. Whoever does not fit waits in a batch of their own until their time; the others leave.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, text

from crm.core.db import bigint_array, db
from crm.messages import rules
from crm.messages.models import Pace

DAY, MINUTE, TO, AFTER = "day", "minute", "to:", "after:"  # names of windows; the last two before a domain
LENGTHS = {DAY: timedelta(days=1), MINUTE: timedelta(minutes=1)}
WAITING = "waiting for its turn"

# One order for all workers, so that none waits for another in a circle. A machine whose clock lags opens no new window.
_OPEN = text("""
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
# Who waits keeps to the day of where they are: a step planned for the morning must not leave in somebody's night.
_SET_ASIDE = text("""
    with fresh as materialized (
        select number, until, nextval(pg_get_serial_sequence('batch', 'id')) as id
        from unnest(cast(:untils as timestamptz[])) with ordinality as asked(until, number)
    ), chosen as materialized (
        select m.id, c.time_zone, fresh.id as batch_id
        from unnest(cast(:ids as bigint[]), cast(:groups as bigint[])) as asked(id, number)
        join fresh using (number) join message m on m.id = asked.id join contact c on c.id = m.contact_id
    ), made as (
        insert into batch (id, kind, stream, transport, content_version_id, language, topic, campaign_id, sequence_id,
            time_zones, size, state, error, created_at, not_before, too_late_at, state_at)
        select fresh.id, kind, stream, transport, content_version_id, language, topic, campaign_id, sequence_id,
            case when fresh.until <= cast(:now as timestamptz) then time_zones else coalesce(time_zones,
                (select array_agg(distinct time_zone) from chosen where batch_id = fresh.id)) end,
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
        time_zones = coalesce(time_zones, (select array_agg(distinct c.time_zone)
            from message m join contact c on c.id = m.contact_id where m.batch_id = batch.id and m.state is null))
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
class Later:
    """Nobody of a batch may leave yet. `everybody`: neither may anybody else's bulk mail."""

    everybody: bool


@dataclass(frozen=True, kw_only=True)
class _Wait:
    """Some places of a batch that leave together, later. `then`: when whoever comes after them may."""

    why: str
    places: Sequence[int]
    until: datetime
    then: datetime


_Windows = Mapping[str, tuple[datetime, int]]  # scope -> (start of its window, emails counted in it)


def caps(control: Any, *, now: datetime) -> Caps:
    """Return what holds now, from the control row (or a row with its columns): a ramp lowers the cap of the day."""
    limits = [control.per_day, rules.ramp(started=control.ramp_from, now=now) if control.ramp_from else None]
    day = min((limit for limit in limits if limit is not None), default=None)
    return Caps(per_minute=control.per_minute, per_day=day, domains=control.domain_caps or {})


def take(
    rows: Sequence[Row[Any]], *, batch_id: int, free: bool, caps: Caps, now: datetime
) -> Sequence[Row[Any]] | Later:
    """Count the people of a batch (rows with `id` and `email`) against the caps; return who may leave now.

    Mail that somebody waits for (`free`) is counted and never held back. The rest of a batch that fits only in part
    goes on in batches of their own, each at the time its cap lets it; a batch of which nobody fits is put off whole.
    """
    if not caps.overall and not caps.domains:
        return rows
    domains = [row.email.rpartition("@")[2] for row in rows]
    windows = _open(domains, caps, now)
    if not windows:
        return rows
    places = [None] * len(rows) if free else rules.share(domains, room=_room(windows, caps))
    waits = _waits(places, windows, caps)
    going = [domain for domain, why in zip(domains, places, strict=True) if why is None]
    _count(Counter(going), windows, waits)
    if not waits:
        return rows
    if not going:
        first = min(wait.until for wait in waits)
        db.session.execute(_PUT_OFF, {"batch": batch_id, "why": WAITING, "until": first, "now": now})
        return Later(everybody=any(wait.why == rules.ALL_MAIL for wait in waits))
    parts = [(wait.until, [rows[place].id for place in wait.places]) for wait in waits]
    set_aside(batch_id, parts, why=WAITING, now=now)
    return [row for row, why in zip(rows, places, strict=True) if why is None]


def used(*, now: datetime) -> dict[str, int]:
    """Return how many emails have been counted in the present windows: of the day, of the minute, of each domain."""
    found = {}
    for row in db.session.scalars(select(Pace).where(~Pace.scope.startswith(AFTER))):
        length = LENGTHS.get(row.scope, LENGTHS[MINUTE])
        if row.window_start <= now < row.window_start + length:
            found[row.scope.removeprefix(TO)] = row.used
    return found


def _open(domains: Sequence[str], caps: Caps, now: datetime) -> _Windows:
    """Open, or find, the present window of every cap these people fall under, and hold them until the commit."""
    minute = now.replace(second=0, microsecond=0)
    starts = {name: minute if name == MINUTE else minute.replace(hour=0, minute=0) for name in caps.overall}
    for domain in caps.domains.keys() & set(domains):
        starts |= {TO + domain: minute, AFTER + domain: minute + LENGTHS[MINUTE]}
    if not starts:
        return {}
    found = db.session.execute(_OPEN, {"scopes": list(starts), "starts": list(starts.values())})
    return {row.scope: (row.window_start, row.used) for row in found}


def _room(windows: _Windows, caps: Caps) -> dict[str, int]:
    """Return how many more each cap lets through now."""
    domains = {
        domain: cap - windows[TO + domain][1]
        for domain, cap in caps.domains.items()
        if TO + domain in windows
    }
    overall = [cap - windows[name][1] for name, cap in caps.overall.items()]
    return domains | ({rules.ALL_MAIL: min(overall)} if overall else {})


def _waits(places: Sequence[str | None], windows: _Windows, caps: Caps) -> list[_Wait]:
    """Give those who do not fit their time: of a mailbox provider's, a minute's worth after the other."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for place, why in enumerate(places):
        if why is not None:
            groups[why].append(place)
    waits = []
    for why, held in groups.items():
        if why == rules.ALL_MAIL:
            until = _next_window(windows, caps)
            waits.append(_Wait(why=why, places=held, until=until, then=until))
            continue
        until, most = windows[AFTER + why][0], caps.domains[why]
        for start in range(0, len(held), most):
            part = held[start : start + most]
            then = until + LENGTHS[MINUTE] * (len(part) / most)
            waits.append(_Wait(why=why, places=part, until=until, then=then))
            until = then
    return waits


def _next_window(windows: _Windows, caps: Caps) -> datetime:
    """Return when the cap on all mail that is tightest now lets the next one through."""
    tightest = min(caps.overall, key=lambda name: caps.overall[name] - windows[name][1])
    return windows[tightest][0] + LENGTHS[tightest]


def _count(going: Counter[str], windows: _Windows, waits: Sequence[_Wait]) -> None:
    ahead = {AFTER + wait.why: wait.then for wait in waits}
    more = {scope: going[scope.removeprefix(TO)] if scope.startswith(TO) else 0 for scope in windows}
    more |= {scope: going.total() for scope in windows.keys() & LENGTHS.keys()}
    db.session.execute(
        _COUNT,
        {
            "scopes": list(windows),
            "more": [more[scope] for scope in windows],
            "ahead": [ahead.get(scope) for scope in windows],
        },
    )


def set_aside(
    batch_id: int, parts: Sequence[tuple[datetime, Sequence[int]]], *, why: str | None, now: datetime
) -> None:
    """Move messages of a batch to batches of their own: per part, when they may leave and which they are."""
    chosen = [(message_id, number) for number, (_, ids) in enumerate(parts, 1) for message_id in ids]
    ids, groups = zip(*chosen, strict=True)
    db.session.execute(
        _SET_ASIDE,
        {
            "batch": batch_id,
            "ids": bigint_array(ids),
            "groups": bigint_array(groups),
            "untils": [until for until, _ in parts],
            "why": why,
            "now": now,
        },
    )
