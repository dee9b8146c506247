"""Encrypted backups of the database in a folder: make, keep for a while, restore into an empty database.

`pg_dump` and `pg_restore` do the work. BACKUP_KEYS encrypts the file; it must not be kept beside it.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import psycopg
from sqlalchemy import make_url

from crm.core import clock
from crm.core.config import Settings
from crm.ops import sealed_files
from crm.ops.sealed_files import BrokenFile

NAME = "clinic-%Y%m%dT%H%M%SZ.backup"
LATE = timedelta(hours=26)  # a daily backup and two hours


class BackupFailed(Exception):
    """A backup could not be made or restored; the text says why."""


def make(settings: Settings) -> Path:
    """Write an encrypted backup, and remove those that were kept long enough; return its path. Raises BackupFailed."""
    folder = settings.backup_folder
    if folder is None or not settings.backup_keys:
        raise BackupFailed("Set BACKUP_FOLDER and BACKUP_KEYS.")
    key_id, key = settings.backup_keys[0]
    path = folder / clock.now().astimezone(UTC).strftime(NAME)
    part = path.with_suffix(".part")
    try:
        with _tool("pg_dump", settings.database_url, "--format=custom", stdout=subprocess.PIPE) as dump:
            with part.open("xb") as file:
                sealed_files.seal(_pipe(dump.stdout), file, key_id=key_id, key=key)
                file.flush()
                os.fsync(file.fileno())
            _must_end_well(dump, "pg_dump")
        part.rename(path)
    except OSError as error:
        raise BackupFailed(f"The backup could not be written: {error}.") from error
    finally:
        part.unlink(missing_ok=True)
    _prune(folder, keep=timedelta(days=settings.backup_keep_days))
    return path


def restore(path: Path, *, settings: Settings, database_url: str) -> None:
    """Restore a backup into an empty database, whole or not at all. Raises BackupFailed."""
    if _has_tables(database_url):
        raise BackupFailed("That database is not empty. Restore into a new one.")
    options = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
    keys = dict(settings.backup_keys)
    try:
        with (
            path.open("rb") as file,
            _tool("pg_restore", database_url, *options, stdin=subprocess.PIPE) as restoring,
        ):
            with contextlib.suppress(BrokenPipeError), _pipe(restoring.stdin) as pipe:
                for piece in sealed_files.unseal(file, keys=keys):
                    pipe.write(piece)
            _must_end_well(restoring, "pg_restore")
    except (BrokenFile, OSError) as error:
        raise BackupFailed(str(error)) from error


def made_at(path: Path) -> datetime:
    """Return when a backup began. Raises BackupFailed for a file with another name."""
    try:
        return datetime.strptime(path.name, NAME).replace(tzinfo=UTC)
    except ValueError as error:
        raise BackupFailed(f"{path.name} is not named as a backup.") from error


def newest(folder: Path) -> Path | None:
    """Return the newest backup of a folder; None when it has none."""
    return max(folder.glob("clinic-*.backup"), default=None)


def is_late(folder: Path) -> bool:
    """Tell whether the newest backup is older than a day, or there is none."""
    found = newest(folder)
    return found is None or made_at(found) < clock.now() - LATE


def _prune(folder: Path, *, keep: timedelta) -> None:
    for path in folder.glob("clinic-*.backup"):
        if made_at(path) < clock.now() - keep:
            path.unlink()


@contextlib.contextmanager
def _tool(
    name: str, database_url: str | None, *options: str, stdin: int | None = None, stdout: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a tool of PostgreSQL for the block. The password goes by the environment: every user may list arguments."""
    url = make_url(database_url or "").set(drivername="postgresql")
    env = dict(os.environ) | ({"PGPASSWORD": str(url.password)} if url.password else {})
    target = url.set(password=None).render_as_string()
    with subprocess.Popen(  # noqa: S603 - a fixed tool, no shell
        [name, *options, f"--dbname={target}"], env=env, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _must_end_well(process: "subprocess.Popen[bytes]", name: str) -> None:
    said = _pipe(process.stderr).read().decode(errors="replace")
    if process.wait() != 0:
        raise BackupFailed(f"{name}: {said.strip()[-500:]}")


def _has_tables(database_url: str) -> bool:
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        found = connection.execute("select 1 from pg_tables where schemaname = 'public' limit 1")
        return found.fetchone() is not None
