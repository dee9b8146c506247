"""Real copies of a real server: dumped, promoted, put back, started twice. The guard tells each from the original."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from crm.app import create_app
from crm.core import config
from crm.core.db import db, transaction
from crm.core.flask_app import CrmApp
from crm.dev import local
from crm.messages.engine.deliver import claim_committed
from crm.messages.limits import copy_guard, switches
from crm.messages.limits.outside_mark import KEY
from tests.support import snapshots
from tests.support.servers import database_url, template

pytestmark = pytest.mark.slow


@contextmanager
def installation(settings: config.Settings, url: str, folder: Path) -> Iterator[CrmApp]:
    """An app on a database of its own, with its own Redis and file."""
    own = replace(
        settings,
        database_url=config._postgres(url),
        redis_url=local.redis_url(folder),
        sending_mark_file=folder / "sending-mark.json",
    )
    app = create_app(own)
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()
            app.services.redis.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="copies-"))
    yield path
    local.stop_embedded(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def site(settings, servers, folder) -> Iterator[CrmApp]:
    """An installation that has been swept and has sent."""
    url = local.postgres_url(folder).replace("+psycopg", "")
    dumped(folder, database_url(servers[0], template(settings, servers[0])), url)
    with installation(settings, url, folder) as app:
        assert held() is None
        assert send()
        yield app


def send() -> bool:
    """Claim, commit, write the number outside, as each email is sent; return whether it could."""
    with transaction():
        allowed = db.session.scalar(text(f"select {copy_guard.UNCHANGED}"), copy_guard.parameters())
        mark = copy_guard.number_claim(1, detail={}) if allowed else None
    return mark is not None and mark.publish()


def held() -> str | None:
    """Sweep; return why sending is stopped."""
    db.session.remove()
    with transaction():
        switches.heartbeat(guard_silence=True)
        return switches.get().stop_reason


def stop(folder: Path, mode: str = "fast") -> None:
    db.session.remove()
    db.engine.dispose()
    snapshots.stop(folder, mode)


def restart(folder: Path, mode: str) -> None:
    stop(folder, mode)
    snapshots.start(folder)


def tool(folder: Path, name: str, *options: str, given: bytes | None = None) -> bytes:
    """Run a program of PostgreSQL; return its output."""
    path = local._postgres_servers[folder].bin_path / name
    return subprocess.run([path, *options], check=True, capture_output=True, input=given).stdout


def dumped(folder: Path, url: str, target: str) -> None:
    """Restore a dump of one database into another."""
    tool(folder, "psql", "-q", target, given=tool(folder, "pg_dump", url))


def test_a_healthy_database_is_never_held(site, folder):
    for mode in ("fast", "immediate", "fast", "immediate"):
        assert send()
        restart(folder, mode)
        assert held() is None
        assert send()


def test_a_number_whose_claim_was_not_committed_is_never_missed(site, folder):
    def dies() -> None:
        for _ in range(40):  # PostgreSQL writes 32 numbers ahead
            copy_guard.number_claim(1, detail={})
        os.kill(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        db.session.execute(text("select pg_sleep(60)"))  # until the connection is cut

    with pytest.raises(OperationalError):
        claim_committed(dies)
    db.session.remove()
    db.engine.dispose()
    snapshots.start(folder)
    assert held() is None
    assert send()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_snapshot_put_back_is_held(site, folder, mode):
    stop(folder, mode)
    saved = snapshots.save(folder, "saved")
    snapshots.start(folder)
    assert send()  # one email is enough
    stop(folder)
    snapshots.put_back(folder, saved, keep_as="newer")
    snapshots.start(folder)
    assert not send()
    assert "older than the mail" in held()
    with transaction():
        switches.release(by="Kim")
    assert send()
    assert held() is None


@pytest.mark.parametrize("lost", ["file", "redis"])
def test_one_place_outside_is_enough(site, folder, lost):
    stop(folder)
    saved = snapshots.save(folder, "saved")
    snapshots.start(folder)
    assert send()
    stop(folder)
    snapshots.put_back(folder, saved, keep_as="newer")
    snapshots.start(folder)
    if lost == "file":
        site.settings.sending_mark_file.unlink()
    else:
        site.services.redis.delete(KEY)
    assert "older than the mail" in held()


def test_a_second_instance_is_held(site, settings, folder):
    stop(folder)
    saved = snapshots.save(folder, "saved")
    snapshots.start(folder)
    second = folder / "second"
    second.mkdir()
    url = snapshots.second_instance(second, saved)
    copy = replace(site.settings, database_url=config._postgres(url))  # all else is the original's
    with create_app(copy).app_context():
        assert not send()
        assert "copied or moved" in held()
        db.session.remove()
        db.engine.dispose()
    local.stop_embedded(second)
    assert send()
    assert held() is None


def test_a_dump_restored_elsewhere_is_held(site, settings, folder):
    url = str(site.settings.database_url).replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("create database copy")
    second = folder / "second"
    second.mkdir()
    targets = {
        "another database of the same server": database_url(url, "copy"),
        "another database server": local.postgres_url(second).replace("+psycopg", ""),
    }
    for reason, target in targets.items():
        dumped(folder, url, target)
        with create_app(replace(site.settings, database_url=config._postgres(target))).app_context():
            assert not send()
            assert reason in held()
            db.session.remove()
            db.engine.dispose()
    local.stop_embedded(second)
    assert held() is None


def test_a_standby_that_took_over_is_held(site, folder):
    stop(folder)
    signal_file = folder / "postgres" / "standby.signal"
    signal_file.touch()
    shutil.chown(signal_file, (folder / "postgres").stat().st_uid)
    snapshots.start(folder)
    server = local._postgres_servers[folder]
    subprocess.run(
        [server.bin_path / "pg_ctl", "-w", "-D", str(server.pgdata), "promote"],
        check=True,
        capture_output=True,
        user=server.system_user,
    )
    with transaction():
        db.session.execute(text("checkpoint"))
    assert not send()
    assert "standby took over" in held()
