"""Seals outside the database: a log that was cut, emptied or rewritten is found by them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from psycopg import connect
from sqlalchemy import text

from crm.audit import seals, service
from crm.core.db import db
from jobs import audit as jobs_audit
from tests.audit.test_chain import as_intruder, sealed
from tests.support.stack import wait_until

__all__ = ["sealed"]


@pytest.fixture
def kept(sealed, redis):
    """The log is sealed outside; returns the seal."""
    made = seals.make()
    assert seals.keep(made)
    return made


def kinds(*outside: str) -> list[str]:
    return [finding.kind for finding in seals.verify(outside)]


def test_an_untouched_log(kept):
    assert kinds(kept.line) == []


def test_a_cut_end(kept, sealed):
    with as_intruder():
        db.session.execute(text("delete from audit_link where entry_id = :id"), {"id": sealed[-1]})
        db.session.execute(text("delete from audit_entry where id = :id"), {"id": sealed[-1]})
    assert service.verify() == []  # by itself it looks whole
    assert kinds() == ["cut"]


def test_emptied_tables(kept):
    with as_intruder():
        db.session.execute(text("delete from audit_link"))
        db.session.execute(text("delete from audit_entry"))
    assert kinds() == ["cut"]


@pytest.mark.parametrize("lost", ["file", "redis"])
def test_one_place_is_enough(app, kept, redis, lost):
    if lost == "file":
        app.settings.audit_seal_file.unlink()
    else:
        redis.flushdb()
    with as_intruder():
        db.session.execute(text("delete from audit_link where number = :number"), {"number": kept.number})
    assert "cut" in kinds()


def test_a_seal_that_nobody_here_made(kept):
    assert kinds(replace(kept, number=5).line, "nonsense", "a b c d", "") == ["forged"]


def test_lost_seals_of_an_old_log(clock, kept, app, redis):
    app.settings.audit_seal_file.unlink()
    redis.flushdb()
    assert kinds() == []
    clock.shift(2 * 86_400)
    assert kinds() == ["cut"]


def test_places_that_cannot_be_written(app, sealed, redis, monkeypatch):
    monkeypatch.setattr(seals, "_to_file", lambda *_: False)
    monkeypatch.setattr(seals, "_to_redis", lambda *_: False)
    jobs_audit.seal_outside()
    found = db.session.scalars(text("select key from alert where closed_at is null")).all()
    assert found == ["audit-seal"]


def test_the_daily_check_raises_an_alert(database, kept, sealed):
    jobs_audit.verify()
    count = text("select count(*) from alert where key = 'audit' and closed_at is null")
    assert db.session.scalar(count) == 0
    with as_intruder():
        db.session.execute(text("update audit_entry set actor = 'x' where id = :id"), {"id": sealed[4]})
    jobs_audit.verify()
    assert db.session.scalar(count) == 1


def test_days_without_the_service_are_no_finding(clock, kept, redis):
    service.record("settings.changed")
    db.session.commit()
    clock.shift(3 * 86_400)
    assert kinds(kept.line) == ["unsealed"]
    jobs_audit.verify()
    assert kinds(kept.line) == []
    assert db.session.scalar(text("select count(*) from alert where key = 'audit'")) == 0


def test_sealing_that_waits_goes_on_after_another(database, clock):
    """The daily check and the sealing are both due when the service starts."""
    service.record("settings.changed")
    db.session.commit()
    clock.shift(3 * 86_400)
    address = database.settings.database_url.replace("+psycopg", "")
    with connect(address, options="-c lock_timeout=20s") as other, ThreadPoolExecutor(1) as pool:
        other.execute("select pg_advisory_xact_lock(%s)", [service._LOCK])
        assert service.seal() == 0

        def end_when_awaited() -> None:
            waiting = "select exists (select 1 from pg_locks where locktype = 'advisory' and not granted)"
            try:
                wait_until(
                    lambda: other.execute(waiting).fetchone() == (True,), seconds=10, what="the other to wait"
                )
            finally:
                other.rollback()

        ended = pool.submit(end_when_awaited)
        assert service.seal(wait=True) == 1
        ended.result()


def test_commands(database, kept, tmp_path):
    run = database.test_cli_runner().invoke
    line = run(args=["audit", "seal"]).output.strip()
    assert seals.parse(line)
    (tmp_path / "seals").write_text(line)
    assert run(args=["audit", "verify", "--seal", line, "--seals", str(tmp_path / "seals")]).exit_code == 0
    assert run(args=["audit", "verify", "--seal", "nonsense"]).exit_code == 1
