"""Quiet hours: a broadcast is sent between 8:00 and 20:00 in its readers' time zones. Pure; one rule in Python and SQL."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from crm.messages.limits.send_window import Window

OPENS, CLOSES = 8, 20  # local hours
DAYTIME = Window(time(OPENS), time(CLOSES), frozenset(range(7)))


def quiet_until(now: datetime, zone: ZoneInfo) -> datetime | None:
    """Return when the night in `zone` ends, or None where it is day. Local clock time, so summer time counts."""
    local = now.astimezone(zone)
    if OPENS <= local.hour < CLOSES:
        return None
    day = local.date() + timedelta(days=local.hour >= CLOSES)
    return datetime.combine(day, time(OPENS), zone).astimezone(now.tzinfo)


def is_day(zone: str) -> str:
    """Return the SQL for "it is day in `zone`" (an SQL expression) at :now."""
    local = f"(cast(:now as timestamptz) at time zone {zone})"
    return f"(extract(hour from {local}) between {OPENS} and {CLOSES - 1})"


def is_day_everywhere(zones: str) -> str:
    """Return the SQL for "it is day in each of `zones`" (an SQL array) at :now; false where a name is no zone.

    Only names of the table `time_zone` are computed with, so that no row makes a statement fail.
    """
    return f"""(not exists (select 1 from unnest({zones}) asked left join time_zone known on known.name = asked
        where {is_day("known.name")} is not true))"""


def opens(zone: str) -> str:
    """Return the SQL for `quiet_until` of `zone` at :now; NULL by day."""
    local = f"(cast(:now as timestamptz) at time zone {zone})"
    morning = f"date_trunc('day', {local} + interval '{24 - CLOSES} hours') + interval '{OPENS} hours'"
    return f"(case when not {is_day(zone)} then ({morning}) at time zone {zone} end)"
