"""Audit log: append-only; a change that gets past the trigger is detected."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from crm.audit import chain, service
from crm.audit.chain import Content
from crm.core import clock as clocks
from crm.core.clock import now
from crm.core.db import db


@contextmanager
def as_intruder():
    """A change with the rights of the database's owner, past the trigger."""
    for table in ("audit_entry", "audit_link"):
        db.session.execute(text(f"alter table {table} disable trigger all"))
    yield
    for table in ("audit_entry", "audit_link"):
        db.session.execute(text(f"alter table {table} enable trigger all"))


@pytest.fixture
def sealed(edge):
    """Ten sealed entries; returns their ids."""
    for number in range(10):
        with service.acting(f"staff:{number}", address="192.0.2.7"):
            service.record(
                "lead.view",
                object_type="lead",
                object_id=number,
                purpose="care",
                detail={"b": 1, "a": [number]},
            )
    assert service.seal(all_now=True) == 10
    return list(db.session.scalars(text("select entry_id from audit_link order by number")))


def found() -> list[tuple[str, int | None]]:
    return [(finding.kind, finding.entry_id) for finding in service.verify()]


def test_an_untouched_log_has_no_findings(sealed):
    assert service.seal(all_now=True) == 0
    assert found() == []


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'staff:99'", "action = 'lead.edit'", "object_id = 77", "object_type = 'contact'", "purpose = null",
        "detail = '{}'", "at = at + interval '1 microsecond'", "ip_index = null",
    ],
)  # fmt: skip
def test_a_changed_entry_is_found(sealed, change):
    with as_intruder():
        db.session.execute(text(f"update audit_entry set {change} where id = :id"), {"id": sealed[4]})
    assert found() == [("changed", sealed[4])]


def test_a_deleted_entry_is_found(sealed):
    with as_intruder():
        db.session.execute(text("delete from audit_entry where id = :id"), {"id": sealed[4]})
    assert ("deleted", sealed[4]) in found()


def test_a_deleted_entry_with_its_link_is_found(sealed):
    with as_intruder():
        db.session.execute(text("delete from audit_link where entry_id = :id"), {"id": sealed[4]})
        db.session.execute(text("delete from audit_entry where id = :id"), {"id": sealed[4]})
    assert [kind for kind, _ in found()] == ["deleted"]


def test_two_entries_in_each_others_place_are_found(sealed):
    with as_intruder():
        for link, entry in ((4, -1), (5, sealed[4]), (4, sealed[5])):
            given_ = {"entry": entry, "hash": service._links_after(0)[link].hash}
            db.session.execute(text("update audit_link set entry_id = :entry where hash = :hash"), given_)
    assert sorted(found()) == sorted([("reordered", sealed[5]), ("reordered", sealed[4])])


def test_links_taken_away_and_entries_put_in_are_found_after_a_day(clock, sealed):
    with as_intruder():
        db.session.execute(text("delete from audit_link where entry_id = :id"), {"id": sealed[-1]})
        db.session.execute(
            text("update audit_entry set at = at - interval '2 days' where id = :id"), {"id": sealed[-1]}
        )
    assert found() == [("unsealed", sealed[-1])]


def test_an_inserted_entry_is_found(edge, clock, sealed):
    clock.shift(2 * 86_400)
    db.session.execute(
        text("insert into audit_entry (at, actor, action) values (:at, 'staff:7', 'lead.edit')"),
        {"at": clocks.now()},
    )
    db.session.flush()
    assert service.seal(all_now=True) == 1  # it is sealed like any other
    ((kind, _),) = found()
    assert kind == "inserted"


def test_an_entry_copied_to_another_object_is_found(sealed):
    copied = "at, actor, action, object_type, 77, purpose, ip_index, detail, proof"
    columns = copied.replace("77", "object_id")
    db.session.execute(text(f"insert into audit_entry ({columns}) select {copied} from audit_entry limit 1"))
    service.seal(all_now=True)
    assert [kind for kind, _ in found()] == ["inserted"]


def test_an_earlier_release_may_run_for_a_day_beside(edge, clock, sealed):
    clock.shift(3600)
    insert = text("insert into audit_entry (at, actor, action) values (:at, 'system', 'old')")
    db.session.execute(insert, {"at": clocks.now()})
    service.seal(all_now=True)
    assert found() == []


def test_a_chain_rewritten_without_the_key_is_found(sealed):
    with as_intruder():
        db.session.execute(
            text("update audit_entry set actor = 'staff:99' where id = :id"), {"id": sealed[4]}
        )
        links = service._links_after(0)
        made = chain.extend(chain.START, 0, [link.content for link in links], sign=lambda _: b"x" * 32)
        for link in made:
            given_ = {"number": link.number, "hash": link.hash, "mac": link.mac}
            db.session.execute(
                text("update audit_link set hash = :hash, mac = :mac where number = :number"), given_
            )
    assert {kind for kind, _ in found()} == {"forged"}


def test_statements_prove_their_entries(sealed, database):
    detail = {"b": [1], "a": "ü"}
    params = service.sql_params("lead.open", "lead", detail=detail)
    db.session.execute(
        text(service.record_sql("lead.open", "lead", rows="(select 5::bigint as id) o")), params
    )
    service.seal(all_now=True)
    assert found() == []


def test_nobody_else_writes_entries():
    """An entry that is not written here has no proof, and looks inserted."""
    written = [path for path in Path("crm").rglob("*.py") if "insert into audit_entry" in path.read_text()]
    assert [path for path in written if path.parent.name != "audit"] == []


def test_the_newest_wait_for_slow_transactions(edge, clock):
    service.record("first")
    db.session.flush()
    assert service.seal() == 0
    clock.shift(91)
    assert service.seal() == 1


def test_the_chain_goes_on_where_it_ended(sealed):
    service.record("later")
    db.session.flush()
    assert service.seal(all_now=True) == 1
    assert found() == []


@pytest.mark.parametrize("table", ["audit_entry", "audit_link"])
@pytest.mark.parametrize("verb", ["update {} set {} = {}", "delete from {}"])
def test_the_trigger_refuses(sealed, table, verb):
    column = {"audit_entry": "action", "audit_link": "hash"}[table]
    with pytest.raises(IntegrityError, match="never changed"), db.session.begin_nested():
        db.session.execute(text(verb.format(table, column, column)))


def test_command(database, sealed):
    run = database.test_cli_runner().invoke
    assert run(args=["audit", "verify"]).exit_code == 0
    with as_intruder():
        db.session.execute(text("update audit_entry set actor = 'x' where id = :id"), {"id": sealed[4]})
    told = run(args=["audit", "verify"])
    assert (told.exit_code, f"Entry {sealed[4]}" in told.output) == (1, True)


CONTENTS = st.builds(
    Content,
    id=st.integers(1, 9),
    at=st.just(now()),
    actor=st.text(max_size=4),
    action=st.text(max_size=4),
    object_type=st.none() | st.text(max_size=4),
    object_id=st.none() | st.integers(),
    purpose=st.none() | st.text(max_size=4),
    ip_index=st.none() | st.binary(max_size=4),
    proof=st.none() | st.binary(max_size=4),
    detail=st.none() | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
)


@given(CONTENTS, CONTENTS)
def test_different_entries_have_different_hashes(one, other):
    assert (chain.digest(chain.START, one) == chain.digest(chain.START, other)) is (one == other)
