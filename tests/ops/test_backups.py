"""Backups: a real dump, restored; their age and how long they are kept."""

from dataclasses import replace
from datetime import timedelta

import pytest

from crm.core.clock import now
from crm.ops import backups, doctor
from crm.ops.backups import BackupFailed


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
    backups._prune(kept.backup_folder, keep=timedelta(days=35))
    assert (old.exists(), young.exists()) == (False, True)


def test_settings_are_needed(app):
    with pytest.raises(BackupFailed, match="BACKUP_FOLDER"):
        backups.make(app.settings)


def test_a_failed_dump_leaves_nothing(kept):
    with pytest.raises(BackupFailed):
        backups.make(replace(kept, database_url="postgresql://nobody@127.0.0.1:1/none"))
    assert list(kept.backup_folder.iterdir()) == []
