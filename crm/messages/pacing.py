"""How fast mail may leave: caps shared by all workers, kept in the database so that a restart forgets nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from crm.db import db

_TAKE = text("""
    insert into pace (scope, window_start, used) values (:scope, :start, :size)
    on conflict (scope) do update
        set used = case when pace.window_start = :start then pace.used else 0 end + :size, window_start = :start
        where case when pace.window_start = :start then pace.used else 0 end + :size <= :cap or :size > :cap
    returning used
""")


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Emails per minute and per day (UTC); None: no cap of ours."""

    per_minute: int | None
    per_day: int | None


def take(size: int, *, caps: Caps, now: datetime) -> datetime | None:
    """Count `size` emails against the caps. Return None when they may leave, else when to try again.

    A batch larger than a cap passes alone when its window is untouched enough, rather than never.
    """
    minute = now.replace(second=0, microsecond=0)
    day = minute.replace(hour=0, minute=0)
    for scope, start, length, cap in (
        ("day", day, timedelta(days=1), caps.per_day),
        ("minute", minute, timedelta(minutes=1), caps.per_minute),
    ):
        if cap is None:
            continue
        taken = db.session.execute(_TAKE, {"scope": scope, "start": start, "size": size, "cap": cap}).first()
        if taken is None:
            return start + length
    return None
