"""The console with many people: every page by indexes, and by as many statements as with few.

The plans are those of a thousand times the rows: its statistics in PostgreSQL are set to that. What a plan reads
is counted while it runs.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, text

from crm.core.db import db, execute_raw, transaction
from crm.desk import search as desk_search
from crm.desk.calling import call_list
from crm.desk.people import contact_search
from tests.bench import people
from tests.bench.pages import PAGES
from tests.support import factories as support_factories
from tests.support.browser_client import signed_in

MANY = 1_500
TOLD = 1_000  # times as many
MOST_READ = 350  # rows of one table by one part of a plan; a page shows 50, and a count looks at 100
FILLED = ("contact", "lead", "activity", "task")
GROWING = (*FILLED, "message", "stage_move", "consent_record", "enrolment", "call", "consultation", "merge")
TELL = """
update pg_class set reltuples = reltuples * %(times)s
where oid = any(array(select indexrelid from pg_index where indrelid = any(%(tables)s::regclass[])))
    or oid = any(%(tables)s::regclass[])
"""


@pytest.fixture
def crowd(client, database):
    """1,500 people with 1,800 leads, as many tasks and 15,000 lines of timelines."""
    with transaction():
        people.make(execute_raw, people=MANY)
        execute_raw(TELL, {"times": TOLD, "tables": list(FILLED)})
    return signed_in(database, "admin")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def explained(statement, given, *, options="format json"):
    rows = db.session.connection().exec_driver_sql(f"explain ({options}) {statement}", given)
    return list(nodes(rows.scalar_one()[0]["Plan"]))


def whole(plan, tables):
    """The tables that a plan reads from end to end."""
    scans = (node for node in plan if node["Node Type"] == "Seq Scan")
    return [node["Relation Name"] for node in scans if node["Relation Name"] in tables]


def greedy(plan):
    """Which tables a plan has read more rows of than any page needs, and how many."""
    read = {}
    for node in plan:
        left_out = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        rows = (node["Actual Rows"] + left_out) * node["Actual Loops"]
        if node.get("Relation Name", node.get("Index Name")) and rows > MOST_READ:
            read[node.get("Relation Name") or node["Index Name"]] = rows
    return read


def wrong_with(statement, given):
    """What would be slow in a clinic of years: whole tables, more than a page's worth of rows, no index at all."""
    if not statement.lstrip().lower().startswith(("select", "with")) or "for update" in statement.lower():
        return []
    ran = explained(statement, given, options="analyze, timing off, format json")
    found = whole(ran, FILLED) + list(greedy(ran).items())
    db.session.execute(text("set local enable_seqscan = off"))  # leaves it where nothing else is there
    found += whole(explained(statement, given), GROWING)
    db.session.execute(text("set local enable_seqscan = on"))
    return found


def test_pages_use_indexes(crowd, monkeypatch):
    monkeypatch.setattr(desk_search, "LOOKED_AT", 300)
    monkeypatch.setattr(contact_search, "LOOKED_AT", 300)
    monkeypatch.setattr(call_list, "LOOKED_AT", 300)
    counts = {name: db.session.scalar(text(f"select count(*) from {name}")) for name in people.TABLES}
    assert counts == {"contact": MANY, "lead": MANY * 6 // 5, "activity": MANY * 10, "task": MANY * 6 // 5}
    seen = []

    def note(_connection, _cursor, statement, given, *_rest):
        seen.append((statement, given))

    wrong, engine = [], db.engines[None]
    for name, address in PAGES.items():
        seen.clear()
        event.listen(engine, "before_cursor_execute", note)
        assert crowd.get(address).status_code in (200, 302), name
        event.remove(engine, "before_cursor_execute", note)
        wrong += [
            (name, found, statement)
            for statement, given in list(seen)
            if (found := wrong_with(statement, given))
        ]
    assert wrong == []


POINTING = """
select c.conrelid::regclass::text, a.attname from pg_constraint c
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
where c.contype = 'f' and c.confrelid in ('contact'::regclass, 'lead'::regclass) and not exists (
    select 1 from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1]
        and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%s IS NOT NULL)', a.attname)))
"""


def test_foreign_keys_have_indexes(database):
    assert db.session.execute(text(POINTING)).all() == []


def test_search_finds_everyone(crowd):
    assert (
        "patient77"
        in crowd.get("/console/leads/search?q=patient77%40example.test", follow_redirects=True).text
    )
    row = db.session.execute(
        text("select first_name, last_name from contact where email = 'patient77@example.test'")
    )
    first, last = row.one()
    for typed in (f"{first} {last}", f"{last}, {first}", f"{first[:3]} {last}"):
        assert f"{first} {last}" in crowd.get("/console/leads", query_string={"q": typed}).text, typed


@pytest.mark.parametrize(
    "wanted", [{"source": "form", "kind": "referral"}, {"stage": "lost", "source": "api"}]
)
def test_bounded_reads_continue(crowd, monkeypatch, wanted):
    monkeypatch.setattr(desk_search, "LOOKED_AT", 300)
    wanted = desk_search.LeadFilter(**wanted)
    expected, found, cursor = desk_search.find_lead_ids(wanted, limit=10_000), [], None
    while True:
        shown = desk_search.find_leads(wanted, older=cursor)
        found += [lead.id for lead in shown.rows]
        cursor = shown.older
        if cursor is None:
            break
        assert len(shown.rows) == desk_search.PAGE or shown.looked_at == 300
    assert found == list(expected)


def test_stage_of_other_kind_is_empty(crowd):
    shown = desk_search.find_leads(desk_search.LeadFilter(kind="referral", stage="lost"))
    assert (shown.rows, shown.older, shown.looked_at) == ([], None, None)


@pytest.mark.parametrize("address", PAGES.values(), ids=PAGES)
def test_statement_count(client, database, statements, address):
    visitor = signed_in(database, "admin")
    visitor.get(address)
    totals = []
    for number in (1, 2):  # three rows after the second time
        with transaction():
            for _ in range(number):
                who = support_factories.contact(
                    f"p{len(totals)}{_}@example.test", first_name="Mar", last_name="Lomgar"
                )
                execute_raw(
                    """insert into lead (reference, contact_id, kind, stage, source, created_at, stage_at, version)
                    values (%(reference)s, %(who)s, 'referral', 'lost', 'import', now(), now(), 1)""",
                    {"reference": f"C-00000{len(totals)}{_}", "who": who.id},
                )
        with statements() as counted:
            visitor.get(address)
        totals.append(counted.total)
    assert totals[0] == totals[1]
    assert totals[0] <= 25
