"""Encrypted backups of the database: make, keep for a while, restore into an empty database.

`pg_dump` and `pg_restore` do the work. BACKUP_KEYS encrypts the file; it must not be kept beside it.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import psycopg
from sqlalchemy import make_url

from crm.core import clock
from crm.core.config import Settings
from crm.ops import backup_targets, sealed_files
from crm.ops.backup_targets import Target, TargetFailed
from crm.ops.sealed_files import BrokenFile

NAME = "clinic-%Y%m%dT%H%M%SZ.backup"
DUE = timedelta(hours=23, minutes=30)  # the scheduler asks each hour: one backup a day
LATE = timedelta(hours=26)  # a daily backup and two hours


class BackupFailed(Exception):
    """A backup could not be made or restored; the text says why."""


def make(settings: Settings) -> list[str]:
    """Write an encrypted backup to each target, and remove those that were kept long enough; return where it is.

    Raises BackupFailed.
    """
    targets = _targets(settings)
    if not targets or not settings.backup_keys:
        raise BackupFailed("Set BACKUP_KEYS, and BACKUP_FOLDER or BACKUP_S3_URL.")
    now = clock.now()
    name, keep = now.astimezone(UTC).strftime(NAME), timedelta(days=settings.backup_keep_days)
    try:
        with _sealed_dump(settings, name) as part:
            places = [target.put(part, name) for target in targets]
        for target in targets:
            prune(target, before=now - keep)
    except (OSError, TargetFailed) as error:
        raise BackupFailed(f"The backup could not be written: {error}") from error
    return places


@contextlib.contextmanager
def _sealed_dump(settings: Settings, name: str) -> Iterator[Path]:
    """Write a dump to a file that is encrypted as it is written, and remove what is left of it after the block."""
    key_id, key = settings.backup_keys[0]
    part = (settings.backup_folder or Path(tempfile.gettempdir())) / f"{name}.part"
    try:
        with _tool("pg_dump", settings.database_url, "--format=custom", stdout=subprocess.PIPE) as dump:
            with part.open("xb") as file:
                sealed_files.seal(_pipe(dump.stdout), file, key_id=key_id, key=key)
                file.flush()
                os.fsync(file.fileno())
            _must_end_well(dump, "pg_dump")
        yield part
    finally:
        part.unlink(missing_ok=True)


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


def made_at(name: str) -> datetime:
    """Return when a backup began. Raises BackupFailed for a file with another name."""
    try:
        return datetime.strptime(name, NAME).replace(tzinfo=UTC)
    except ValueError as error:
        raise BackupFailed(f"{name} is not named as a backup.") from error


def newest(settings: Settings) -> datetime | None:
    """Return when the newest backup began, of the target that is furthest behind; None if one has none.

    Raises BackupFailed.
    """
    newest_of = [_newest(target) for target in _targets(settings)]
    found = [made_at(name) for name in newest_of if name is not None]
    return min(found) if found and len(found) == len(newest_of) else None


def is_due(settings: Settings, *, after: timedelta = DUE) -> bool:
    """Tell whether a target lacks a backup that is younger than `after`. Raises BackupFailed."""
    found = newest(settings)
    return found is None or found < clock.now() - after


@contextlib.contextmanager
def newest_file(settings: Settings) -> Iterator[Path]:
    """Give the newest backup as a file, for the block, from the first target. Raises BackupFailed without one."""
    for target in _targets(settings):
        name = _newest(target)
        if name is not None:
            with target.local(name) as path:
                yield path
            return
    raise BackupFailed("There is no backup. Run: flask --app wsgi ops backup")


def _targets(settings: Settings) -> list[Target]:
    try:
        return backup_targets.of(settings)
    except TargetFailed as error:
        raise BackupFailed(str(error)) from error


def _newest(target: Target) -> str | None:
    try:
        return max(target.names(), default=None)
    except TargetFailed as error:
        raise BackupFailed(str(error)) from error


def prune(target: Target, *, before: datetime) -> None:
    """Remove the backups of a target that began before a time. Raises TargetFailed."""
    for name in target.names():
        if made_at(name) < before:
            target.remove(name)


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
