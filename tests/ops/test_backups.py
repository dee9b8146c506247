"""Backups: a real dump, restored; their age and how long they are kept."""

import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from crm.core.clock import now
from crm.core.db import db
from crm.ops import backups, doctor
from crm.ops.backup_targets import Bucket, Folder, TargetFailed
from crm.ops.backups import BackupFailed
from crm.staff.models import Alert
from jobs import ops as jobs
from tests.support.stack import free_port


@pytest.fixture
def kept(app, tmp_path, monkeypatch):
    """Settings with a folder for backups."""
    made = replace(app.settings, backup_folder=tmp_path, backup_keys=(("b1", b"b" * 32),))
    monkeypatch.setattr(app, "settings", made)
    return made


def aged(folder, age: timedelta):
    path = folder / (now() - age).strftime(backups.NAME)
    path.touch()
    return path


def test_age(database, kept):
    assert [finding.code for finding in doctor._backup(kept)] == ["backup"]
    aged(kept.backup_folder, timedelta(hours=27))
    assert [finding.code for finding in doctor._backup(kept)] == ["backup"]
    aged(kept.backup_folder, timedelta(hours=25))
    assert [finding.code for finding in doctor._backup(kept)] == ["backup-age"]


def test_old_ones_are_removed(kept):
    old, young = (aged(kept.backup_folder, timedelta(days=days)) for days in (36, 34))
    backups.prune(Folder(kept.backup_folder), before=now() - timedelta(days=35))
    assert (old.exists(), young.exists()) == (False, True)


def test_settings_are_needed(app):
    with pytest.raises(BackupFailed, match="BACKUP_FOLDER"):
        backups.make(app.settings)


def test_a_failed_dump_leaves_nothing(kept):
    with pytest.raises(BackupFailed):
        backups.make(replace(kept, database_url="postgresql://nobody@127.0.0.1:1/none"))
    assert list(kept.backup_folder.iterdir()) == []


def test_a_target_that_is_behind_makes_a_backup_due(kept, clock):
    assert backups.is_due(kept)
    aged(kept.backup_folder, timedelta(hours=23))
    assert not backups.is_due(kept)
    clock.shift(timedelta(hours=1))
    assert backups.is_due(kept)


def test_the_job_tells_staff_when_a_backup_fails(database, kept, monkeypatch):
    database.settings = replace(kept, database_url="postgresql://nobody@127.0.0.1:1/none")
    jobs.back_up()
    alert = db.session.scalars(select(Alert).where(Alert.key == "backup-failed")).one()
    assert "pg_dump" in alert.text
    aged(kept.backup_folder, timedelta(hours=1))  # made by hand meanwhile
    jobs.back_up()
    assert alert.closed_at is not None


@pytest.fixture(scope="module")
def s3():
    """The address of a real S3-compatible server, moto, in an environment of its own; its packages clash with ours."""
    port = free_port()
    command = [
        str(Path(sys.executable).parent / "uv"),
        "tool",
        "run",
        "--from",
        "moto[server]==5.2.5",
        "moto_server",
    ]
    server = subprocess.Popen(
        [*command, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(120):
            if server.poll() is not None:
                pytest.skip("moto could not be installed here; backups to S3 are not tested.")
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.5)
        yield f"http://key:s%2Fcret@127.0.0.1:{port}/backups/clinic?region=us-west-2"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_a_bucket_of_a_real_server(s3, tmp_path):
    bucket = Bucket(s3)
    with pytest.raises(TargetFailed, match="NoSuchBucket"):
        bucket.names()
    bucket._client.make_bucket(bucket_name="backups")
    file = tmp_path / "made"
    names = [f"clinic-202603{day:02}T000000Z.backup" for day in (3, 1)]
    for name in names:
        file.write_bytes(name.encode() * 300_000)  # over five megabytes: in several parts
        assert bucket.put(file, name) == f"s3://backups/clinic/{name}"
    assert bucket.names() == sorted(names)
    with bucket.local(names[0]) as path:
        assert path.read_bytes() == names[0].encode() * 300_000
    backups.prune(bucket, before=backups.made_at(names[0]))
    assert bucket.names() == names[:1]
