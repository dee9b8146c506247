"""A clinic after years of work: contacts, leads and timelines by set-based statements, and how long pages take then."""

import contextlib
import gc
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crm.core import clock
from crm.core.db import sealed
from tests.bench.clinic import clinic
from tests.bench.load import percentile
from tests.bench.pages import PAGES
from tests.bench.rows import Values, figure
from tests.bench.servers import Bench
from tests.support.browser_client import BrowserClient, member

WARM_UP = 10  # calls that are not counted
TABLES = ("contact", "lead", "activity", "task")
Run = Callable[[str, Any], Iterable[Any] | None]

# Names are made of syllables: some hundred thousand of them, so that a beginning stands for as many people as in life.
SYLLABLES = "{Al,Ba,Ca,De,El,Fo,Gar,Ha,Iz,Jo,Ka,Lo,Mar,Ne,Or,Pe,Quin,Ro,Sa,To,Ur,Va,Wil,Xi,Ya,Zu}"
CONTACTS = """
insert into contact (created_at, first_name, last_name, email, email_index, phone, phone_index, language, time_zone)
select %(now)s::timestamptz - n * interval '1 minute',
    s.part[1 + mod(n * 7919, 26)] || lower(s.part[1 + mod(n * 31 / 26, 26)]),
    s.part[1 + mod(n * 104729, 26)] || lower(s.part[1 + mod(n * 17 / 26, 26)]) || lower(s.part[1 + mod(n / 676, 26)]),
    'patient' || n || '@example.test', sha256(('patient' || n || '@example.test')::bytea),
    %(phone)s, sha256(('phone' || n)::bytea), case when mod(n, 5) = 0 then 'es' else 'en' end, 'America/Los_Angeles'
from generate_series(1, %(people)s::bigint) n, (select %(syllables)s::text[] as part) s
"""
# The newest are open, at every stage; all others have ended, as in a clinic that has been at work for years.
LEADS = """
insert into lead (reference, contact_id, kind, stage, source, created_at, stage_at, due_at, closed_at, version)
select 'C-' || lpad(k::text, 7, '0'), first + mod(k - 1, %(people)s),
    case when mod(k, 3) = 0 then 'referral' else 'contact_request' end,
    case when k <= %(open)s and mod(k, 3) = 0
            then (array['received', 'info_requested', 'accepted', 'contacting'])[1 + mod(k / 3, 4)]
        when k <= %(open)s then (array['new', 'confirmed', 'contacted', 'qualified'])[1 + mod(k / 3, 4)]
        when mod(k, 3) = 0 then 'closed' when mod(k, 2) = 0 then 'lost' else 'patient' end,
    case when mod(k, 3) = 0 then (array['portal', 'api'])[1 + mod(k, 2)]
        else (array['form', 'form', 'api', 'import'])[1 + mod(k, 4)] end,
    %(now)s::timestamptz - k * interval '50 seconds', %(now)s::timestamptz - k * interval '40 seconds',
    case when k <= %(open)s then %(now)s::timestamptz + (mod(k, 100) - 50) * interval '1 hour' end,
    case when k > %(open)s then %(now)s::timestamptz - k * interval '30 seconds' end, 1
from generate_series(1, %(people)s * 6 / 5) k, (select min(id) as first from contact where email like 'patient%%') c
"""
TASKS = """
insert into task (lead_id, kind, title, due_at, created_at, done_at)
select id, 'call', 'Call', coalesce(due_at, created_at), created_at, closed_at from lead
"""
LINES = """
insert into activity (contact_id, lead_id, at, kind, actor, detail)
select contact_id, id, created_at + step * interval '1 hour', 'stage_moved', 'staff:1', '{"was": "new", "now": "contacted"}'
from (select id, contact_id, created_at, row_number() over (order by id) as n from lead) l,
    generate_series(1, 8 + case when n <= %(more)s then 1 else 0 end) step
"""
INDEXES = """
select indexname, indexdef from pg_indexes where tablename = any(%(tables)s)
    and indexname not in (select conname from pg_constraint)
"""
MEMORY = "do $$ begin execute format('alter database %%I set maintenance_work_mem = %%L', current_database(), '512MB'); end $$"


def make(run: Run, *, people: int) -> None:
    """Fill a migrated database: `people` contacts, 1.2 leads, as many tasks and 10 lines of a timeline for each.

    `run(statement, values)` runs one statement with psycopg's named places.
    """
    given = {
        "now": clock.now(), "people": people, "phone": sealed("+12135550142"), "syllables": SYLLABLES,
        "open": min(people // 10, 10_000), "more": 10 * people - 8 * (people + people // 5), "tables": list(TABLES),
    }  # fmt: skip
    indexes = (
        list(run(INDEXES, given) or ()) if people >= 100_000 else []
    )  # they are sooner made than kept up
    if indexes:
        run(MEMORY, {})
        _switch(run, "disable")
    for name, _ in indexes:
        run(f'drop index "{name}"', {})
    for statement in (CONTACTS, LEADS, TASKS, LINES):
        run(statement, given)
    for _, definition in indexes:
        run(definition, {})
    if indexes:
        _switch(run, "enable")
    for table in TABLES:
        run(f"analyze {table}", {})


def _switch(run: Run, how: str) -> None:
    """Checks of foreign keys, of which every one would hold."""
    for table in TABLES:
        run(f"alter table {table} {how} trigger all", {})


@figure("pages", runs=1, slow=True)
def pages(bench: Bench) -> Values:
    """p95 (ms) of each page with 10,000 and with 1,000,000 contacts, one reader, turn by turn, after a warm-up."""
    times = 30 if bench.quick else 100
    with _filled(bench, 10_000) as small, _filled(bench, bench.size(1_000_000)) as large:
        gc.collect()
        gc.freeze()
        values: Values = {}
        for name, address in PAGES.items():
            waits: tuple[list[float], list[float]] = ([], [])
            for number in range(times + WARM_UP):
                for reader, found in zip((small, large), waits, strict=True):
                    wait = reader(address)
                    if number >= WARM_UP:
                        found.append(wait)
            values |= {
                f"small_{name}_ms": percentile(waits[0], 0.95),
                f"large_{name}_ms": percentile(waits[1], 0.95),
            }
    return values


@contextlib.contextmanager
def _filled(bench: Bench, people: int) -> Iterator[Callable[[str], float]]:
    """An installation with so many people; yields what reads an address there and returns the ms it took."""
    with clinic(bench, people=10, real_time=True) as made:
        make(made.sql, people=people)
        bench.postgres.settle(made.name)
        with made.app.app_context():
            visitor = BrowserClient(made.app).sign_in(member("admin"))

        def read(address: str) -> float:
            with made.app.app_context():
                began = time.perf_counter()
                answer = visitor.get(address)
                took = (time.perf_counter() - began) * 1000
            if answer.status_code not in (200, 302):
                raise AssertionError(f"{address}: {answer.status_code}")
            return took

        yield read
