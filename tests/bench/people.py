"""A clinic after years of work: contacts, leads and timelines by set-based statements, and how long pages take then."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from crm import clock
from crm.db import sealed
from tests.bench.clinic import clinic
from tests.bench.load import percentile
from tests.bench.rows import Values, figure
from tests.bench.servers import Bench
from tests.visitor import Visitor, member

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


_LISTS = ("call_now", "overdue", "waiting", "stale", "mine", "unassigned", "today")
PAGES = {
    "list": "/console/leads",
    "open": "/console/leads?state=open",
    "overdue": "/console/leads?state=overdue",
    "ended": "/console/leads?state=ended",
    "stage": "/console/leads?stage=lost",
    "kind": "/console/leads?kind=referral",
    "source": "/console/leads?source=import",
    "nobody": "/console/leads?owner=nobody",
    "many_filters": "/console/leads?state=open&kind=referral&stage=accepted&source=api&owner=nobody",
    "none_such": "/console/leads?kind=referral&source=form",
    "by_name": "/console/leads?q=lom",
    "by_both_names": "/console/leads?q=mar+ga",
    "by_email": "/console/leads?q=patient77%40example.test",
    "by_phone": "/console/leads?q=213+555+0199",
    "by_reference": "/console/leads/search?q=C-0000077",
    "lead": "/console/leads/C-0000077",
    "board": "/console/leads/board",
    "board_referrals": "/console/leads/board?kind=referral&owner=me",
    "inbox": "/console/leads/inbox",
    "inbox_nobody": "/console/leads/inbox?tab=nobody",
    **{f"work_{name}": f"/console/leads/work?list={name}" for name in _LISTS},
    "tasks": "/console/leads/tasks",
    "tasks_all": "/console/leads/tasks?who=all",
    "imports": "/console/import",
    "exports": "/console/export",
}


def _pages(bench: Bench, people: int) -> Values:
    """p95 (ms) of each page, one reader in one process, after a warm-up."""
    with clinic(bench, people=10, real_time=True) as made:
        make(made.sql, people=people)
        bench.postgres.settle(made.name)
        with made.app.app_context():
            visitor = Visitor(made.app).sign_in(member("admin"))
            return {f"{name}_ms": _p95(visitor, at, 20 if bench.quick else 100) for name, at in PAGES.items()}


def _p95(visitor: Visitor, address: str, times: int) -> float:
    waits = []
    for number in range(times + 5):
        began = time.perf_counter()
        answer = visitor.get(address)
        waits.append((time.perf_counter() - began) * 1000)
        if answer.status_code not in (200, 302):
            raise AssertionError(f"{address}: {answer.status_code}")
        if number < 5:
            waits.clear()
    return percentile(waits, 0.95)


@figure("pages_10k", runs=1)
def pages_small(bench: Bench) -> Values:
    """10,000 contacts."""
    return _pages(bench, 10_000)


@figure("pages_1m", runs=1)
def pages_large(bench: Bench) -> Values:
    """1,000,000 contacts, 1,200,000 leads, 10,000,000 lines of timelines."""
    return _pages(bench, bench.size(1_000_000))
