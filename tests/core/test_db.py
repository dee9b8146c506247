"""Transactions at the edge, column types and connections."""

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm.core.db import after_commit, db, text_array, transaction
from crm.staff.models import Role


def test_callbacks_run_after_the_commit(database):
    seen = []
    with transaction():
        db.session.add(Role(name="tester"))
        after_commit(lambda: seen.append("called"))
        assert seen == []
    assert seen == ["called"]
    assert db.session.scalar(select(Role.name).where(Role.name == "tester")) == "tester"


def test_error_rolls_back_and_drops_callbacks(database):
    seen = []

    def refuse() -> None:
        with transaction():
            db.session.add(Role(name="tester"))
            after_commit(lambda: seen.append("called"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        refuse()
    assert seen == []
    assert db.session.scalar(select(Role.name).where(Role.name == "tester")) is None


@pytest.mark.parametrize(
    "table", ["audit_entry", "consent_record", "sequence_version", "content_approval", "stage_move"]
)
def test_evidence_cannot_be_truncated(database, table):
    with pytest.raises(IntegrityError, match="never changed"), transaction():
        db.session.execute(text(f"truncate {table} cascade"))


def test_closed_connection_is_replaced(settings):
    """Nobody notices a restart of PostgreSQL between two transactions."""
    engine = create_engine(settings.database_url, pool_size=1, max_overflow=0)
    try:
        with Session(engine) as session:
            first = session.scalar(text("select pg_backend_pid()"))
        with psycopg.connect(settings.database_url.replace("+psycopg", "")) as other:
            other.execute("select pg_terminate_backend(%s, 5000)", (first,))
        with Session(engine) as session:
            assert session.scalar(text("select pg_backend_pid()")) != first
    finally:
        engine.dispose()


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.none() | words | st.sampled_from(['"', "\\", "NULL", "{a,b}", " ", ""]), max_size=6))
def test_text_array(server, values):
    found = server.execute("select %s::text[]", (text_array(values),)).fetchone()[0]
    assert found == values


@pytest.fixture(scope="module")
def server(settings):
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as connection:
        yield connection
