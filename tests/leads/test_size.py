"""The console with many people: every page by indexes, and by as many statements as with few."""

import re

import pytest
from sqlalchemy import event, text

from crm.db import db, fast, transaction
from tests import makers
from tests.bench import people
from tests.visitor import signed_in

MANY = 20_000
FILLED = re.compile(r"Seq Scan on (contact|lead|activity)\b")
GROWING = re.compile(
    r"Seq Scan on (contact|lead|activity|message|stage_move|task|consent_record|enrolment)\b"
)


@pytest.fixture
def crowd(client, database):
    """20,000 people with 24,000 leads and 200,000 lines of timelines."""
    with transaction():
        people.make(fast, people=MANY)
    return signed_in(database, "admin")


def whole(statement, given):
    """The tables that a SELECT reads whole: those that are full here, and those that have no index for it."""
    if not statement.lstrip().lower().startswith(("select", "with")):
        return []
    found = FILLED.findall(_plan(statement, given))
    db.session.execute(text("set local enable_seqscan = off"))  # leaves it where nothing else is there
    found += GROWING.findall(_plan(statement, given))
    db.session.execute(text("set local enable_seqscan = on"))
    return found


def _plan(statement, given):
    rows = db.session.connection().exec_driver_sql("explain " + statement, given)
    return "\n".join(row[0] for row in rows)


def test_no_page_reads_a_whole_table(crowd):
    counts = {name: db.session.scalar(text(f"select count(*) from {name}")) for name in people.TABLES}
    assert counts == {"contact": MANY, "lead": MANY * 6 // 5, "activity": MANY * 10}
    seen = []

    def note(_connection, _cursor, statement, given, *_rest):
        seen.append((statement, given))

    wrong, engine = [], db.engines[None]
    for name, address in people.PAGES.items():
        seen.clear()
        event.listen(engine, "before_cursor_execute", note)
        assert crowd.get(address).status_code in (200, 302)
        event.remove(engine, "before_cursor_execute", note)
        wrong += [
            (name, statement, tables)
            for statement, given in list(seen)
            if (tables := whole(statement, given))
        ]
    assert wrong == []


def test_everybody_looked_for_is_found(crowd):
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


@pytest.mark.parametrize("address", people.PAGES.values(), ids=people.PAGES)
def test_more_rows_take_no_more_statements(client, database, statements, address):
    visitor = signed_in(database, "admin")
    visitor.get(address)
    totals = []
    for number in (1, 2):  # three rows after the second time
        with transaction():
            for _ in range(number):
                who = makers.contact(f"p{len(totals)}{_}@example.test", first_name="Mar", last_name="Lomgar")
                fast(
                    """insert into lead (reference, contact_id, kind, stage, source, created_at, stage_at, version)
                    values (%(reference)s, %(who)s, 'referral', 'lost', 'import', now(), now(), 1)""",
                    {"reference": f"C-00000{len(totals)}{_}", "who": who.id},
                )
        with statements() as counted:
            visitor.get(address)
        totals.append(counted.total)
    assert totals[0] == totals[1]
    assert totals[0] <= 25
