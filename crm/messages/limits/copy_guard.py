"""The copy guard: a database that was copied, or put back in an older state, sends nothing until staff release it.

A copy carries in itself what it takes to send every email of the original again. Two kinds of marks tell it apart:

- inside: which server, database and timeline this is, and where its data is. They differ in a `pg_dump` copy, after a
  restore to a moment, on a standby that took over, and in a data folder that was copied and started elsewhere;
- outside, in Redis and in a file: the number of the newest claim. A snapshot put back lacks that claim.

The last statement of a claim assigns its number. After the commit and before the provider is called, the number is
written outside. A claim reads the outside number before its first statement. That number was therefore committed, and a
healthy database contains it. After a crash PostgreSQL may assign the number of an uncommitted claim again; that number
was never written outside.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import structlog
from sqlalchemy import make_url, text, update

from crm.audit import service as audit
from crm.core import clock, current, queue
from crm.core.db import after_commit, db, execute_raw
from crm.messages.limits import copy_rules
from crm.messages.limits.copy_rules import Difference, Marks
from crm.messages.limits.outside_mark import OutsideMark
from crm.messages.models import SendingControl

log = structlog.get_logger()

# A role may read the data directory when it is a superuser or has pg_read_all_settings; the address does otherwise.
_HERE = """
    select s.system_identifier || '/' || d.oid as database,
        s.system_identifier || '/' || d.oid || '/' || c.timeline_id as instance,
        case when pg_has_role('pg_read_all_settings', 'usage') then current_setting('data_directory')
            else cast(:address as text) end as place
    from pg_control_system() s, pg_control_checkpoint() c, pg_database d where d.datname = current_database()
"""
_MARKS = f"""
    select control.instance, control.place, control.alive_at, control.mark_floor as floor,
        coalesce((select max(number) from send_mark), 0) as newest,
        here.database, here.instance as here, here.place as here_place,
        cast(cast(:outside as jsonb) ->> here.database as bigint) as outside
    from sending_control control, ({_HERE}) here
"""
# The checks of `copy_rules.find` except silence, in SQL. Each claim runs them, so it need not wait for the sweep.
UNCHANGED = f"""
    exists (select 1 from ({_MARKS}) marks
        where (instance is null or instance = here or here like instance || '/%')
            and (place is null or place = here_place)
            and coalesce(outside <= greatest(floor, newest), floor is null))
"""
_READ = text(_MARKS)
_NUMBER = f"""
    with claimed as (select cast(:batch as bigint) as id),
        noted as ({audit.record_sql("batch.sending", "batch", rows="claimed")})
    insert into send_mark default values returning number,
        (select s.system_identifier || '/' || d.oid from pg_control_system() s, pg_database d
            where d.datname = current_database()) as database
"""
_RESTART = text("select setval(pg_get_serial_sequence('send_mark', 'number'), :floor)")
_PRUNE = text("delete from send_mark where number < :newest")


@dataclass(frozen=True, kw_only=True)
class ClaimMark:
    """The number of one claim, to be written outside once the claim is committed."""

    outside: OutsideMark
    database: str
    number: int

    def publish(self) -> bool:
        """Write the number outside; return whether Redis or the file took it. Without it nothing may be sent."""
        return self.outside.raise_to(self.database, self.number)


def outside() -> OutsideMark:
    """Return the mark outside the database."""
    return OutsideMark(redis=queue.redis(), path=current.settings().sending_mark_file)


def parameters() -> dict[str, str]:
    """Return the parameters of `UNCHANGED`. Read them before the first statement of a transaction."""
    return {
        "outside": json.dumps(outside().read()),
        "address": _address(current.settings().database_url),
    }


def number_claim(batch_id: int, *, detail: dict[str, int]) -> ClaimMark:
    """Give a claim its number, and record it in the audit log: the last statement before the commit."""
    given = {"batch": batch_id, **audit.sql_params("batch.sending", "batch", detail=detail)}
    row = execute_raw(_NUMBER, given).one()
    return ClaimMark(outside=outside(), database=row.database, number=row.number)


def read_marks() -> Marks:
    """Return all marks as they are now."""
    return _read()[0]


def check(*, now: datetime, guard_silence: bool) -> str | None:
    """Record that a healthy database is alive, and return None; otherwise return the reason if sending must be held.

    Called by every sweep. It also writes back a mark outside that was lost in one of the two places.
    """
    marks, database = _read()
    found = copy_rules.find(marks, now=now, guard_silence=guard_silence)
    if found is not None and copy_rules.must_hold(found, marks, now=now):
        return copy_rules.explain(found, marks)
    if found is None:
        _mark_alive(marks, database, now)
    return None


def difference() -> tuple[Difference, str] | None:
    """Return which mark differs now, and the reason in words; None when none does."""
    marks = read_marks()
    found = copy_rules.find(marks, now=clock.now(), guard_silence=False)
    return (found, copy_rules.explain(found, marks)) if found else None


def accept() -> None:
    """Mark this database anew, inside and outside: staff say that it is the one to send from."""
    now = clock.now()
    marks, database = _read()
    floor = copy_rules.next_floor(marks, now=now)
    db.session.execute(_RESTART, {"floor": floor})
    marked = {"instance": marks.here, "place": marks.here_place, "alive_at": now, "mark_floor": floor}
    db.session.execute(update(SendingControl).values(**marked))
    mark = ClaimMark(outside=outside(), database=database, number=floor)
    after_commit(lambda: log.info("sending_mark.accepted", outside=mark.publish()))


def _mark_alive(marks: Marks, database: str, now: datetime) -> None:
    written = outside().raise_to(database, marks.known)
    alive: dict[str, Any] = {"instance": marks.here, "place": marks.here_place, "alive_at": now}
    if written and marks.floor is None:
        alive["mark_floor"] = 0  # from now on a missing mark is a lost one
    db.session.execute(update(SendingControl).where(SendingControl.stopped_at.is_(None)).values(**alive))
    db.session.execute(_PRUNE, {"newest": marks.newest})


def _read() -> tuple[Marks, str]:
    row: dict[str, Any] = dict(db.session.execute(_READ, parameters()).mappings().one())
    database = row.pop("database")
    return Marks(**row), database


@lru_cache(maxsize=16)
def _address(database_url: str | None) -> str:
    """Return host and port under which the database is reached."""
    url = make_url(database_url or "postgresql://embedded")
    return f"{url.host or url.query.get('host')}:{url.port or 5432}"
