"""The transaction at the edge, and what must not survive it."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from crm.db import after_commit, db, transaction
from crm.staff.models import Role


def test_commit_then_wishes(database):
    seen = []
    with transaction():
        db.session.add(Role(name="tester"))
        after_commit(lambda: seen.append("wish"))
        assert seen == []
    assert seen == ["wish"]
    assert db.session.scalar(select(Role.name).where(Role.name == "tester")) == "tester"


def test_error_undoes_and_forgets(database):
    seen = []

    def refuse() -> None:
        with transaction():
            db.session.add(Role(name="tester"))
            after_commit(lambda: seen.append("wish"))
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
