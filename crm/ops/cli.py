"""flask keys: what is encrypted with which key, and replacing a key. flask ops: backup, restore, drill."""

import base64
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import psycopg
from flask.cli import AppGroup
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from crm.core import current
from crm.core.config import ROOT
from crm.core.db import transaction
from crm.core.field_keys import CannotDecrypt
from crm.ops import backups, restored
from crm.ops import keys as rotation
from crm.ops.backup_targets import TargetFailed

keys = AppGroup("keys", help="Field keys: status, rotation, retirement.")


@keys.command()
def status() -> None:
    """List how many values each key has encrypted, by column."""
    settings = current.settings()
    with transaction():
        counted = rotation.count()
    names = [name for name, _ in settings.field_keys]
    click.echo(f"Newest key: {names[0]}. Others: {', '.join(names[1:]) or 'none'}.")
    click.echo(f"Blind indexes: {'INDEX_KEY' if settings.index_key else f'derived from {names[-1]}'}.")
    for column, by_key in counted.items():
        click.echo(
            f"{column:40} " + ", ".join(f"{key}: {number:,}" for key, number in sorted(by_key.items()))
        )


@keys.command()
def rotate() -> None:
    """Encrypt everything with the newest key, in slices; may be stopped and started again."""
    totals: dict[str, int] = {}
    try:
        for column, done in rotation.rotate():
            totals[column] = done
    except CannotDecrypt as error:
        raise click.ClickException(f"{error} Put the missing key behind the others in FIELD_KEYS.") from error
    totals["undo"] = rotation.rotate_images()
    totals["second factors"] = rotation.rotate_second_factors()
    for column, done in totals.items():
        if done:
            click.echo(f"{column:40} {done:,}")
    click.echo(f"{sum(totals.values()):,} values encrypted with the newest key.")


@keys.command()
@click.argument("key_id")
def retire(key_id: str) -> None:
    """Tell whether KEY_ID can be removed from FIELD_KEYS. Exit status 1 if not, with the reasons."""
    with transaction():
        obstacles = rotation.obstacles(key_id)
    for words in obstacles:
        click.echo(words)
    if not obstacles:
        click.echo(
            f"Nothing needs {key_id}. Remove it from FIELD_KEYS and restart all processes; keep it with old backups."
        )
    sys.exit(1 if obstacles else 0)


@keys.command("index-key")
def index_key() -> None:
    """Print the key of the blind indexes, for INDEX_KEY: then every key of FIELD_KEYS can be retired. A secret."""
    click.echo(base64.b64encode(current.services().field_keys.index_key).decode())


ops = AppGroup("ops", help="Backup, restore, drill.")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@ops.command()
def backup() -> None:
    """Write an encrypted backup of the database to BACKUP_FOLDER and to the bucket of BACKUP_S3_URL."""
    try:
        places = backups.make(current.settings())
    except backups.BackupFailed as error:
        raise click.ClickException(str(error)) from error
    for place in places:
        click.echo(place)


@ops.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def fetch(folder: Path) -> None:
    """Copy the newest backup, from the bucket or the folder of backups, to FOLDER."""
    try:
        with backups.newest_file(current.settings()) as path:
            click.echo(shutil.copy(path, folder))
    except (backups.BackupFailed, TargetFailed) as error:
        raise click.ClickException(str(error)) from error


@ops.command()
@click.argument("path", type=_FILE)
@click.option("--into", required=True, metavar="URL", help="An empty database.")
def restore(path: Path, into: str) -> None:
    """Restore a backup into an empty database."""
    try:
        backups.restore(path, settings=current.settings(), database_url=into)
    except backups.BackupFailed as error:
        raise click.ClickException(str(error)) from error
    click.echo("Restored. Next: flask --app wsgi db upgrade, flask --app wsgi ops check.")


@ops.command()
@click.option(
    "--backup", "name", help="Name of the backup that was restored: seals made after it are left out."
)
def check(name: str | None) -> None:
    """Check a restored database. Exit status 1 if something is wrong."""
    with transaction():
        for table, rows in restored.counts().items():
            click.echo(f"{table:20} {rows:>12,}")
        found = restored.problems(made_at=backups.made_at(Path(name).name) if name else None)
    for words in found:
        click.echo(words)
    click.echo(f"{len(found)} problems." if found else "The database is sound, and sends nothing.")
    sys.exit(1 if found else 0)


@ops.command()
@click.option("--server", required=True, metavar="URL", help="A server on which a database can be created.")
def drill(server: str) -> None:
    """Restore the newest backup into a new database of a server, check it, and drop it."""
    try:
        with backups.newest_file(current.settings()) as newest:
            _drill(newest, server)
    except (backups.BackupFailed, TargetFailed) as error:
        raise click.ClickException(str(error)) from error


def _drill(newest: Path, server: str) -> None:
    name = f"drill_{os.getpid()}"
    url = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    target = make_url(url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SQL("create database {}").format(Identifier(name)))
        try:
            _timed("ops", "restore", str(newest), "--into", target)
            _timed("db", "upgrade", database_url=target)
            _timed("ops", "check", "--backup", newest.name, database_url=target)
        finally:
            connection.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def _timed(*command: str, database_url: str | None = None) -> None:
    """Run a command in a process of its own, and print how long it took. Raises ClickException when it fails."""
    env = dict(os.environ)
    if database_url:
        env.pop("DATABASE_URL_FILE", None)
        env["DATABASE_URL"] = database_url
    started = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own commands, no shell
        [sys.executable, "-m", "flask", "--app", "wsgi", *command],
        cwd=ROOT, env=env, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode != 0:
        raise click.ClickException(done.stdout[-2_000:])
    if command[1] == "check":
        click.echo(done.stdout.rstrip())
    click.echo(f"{' '.join(command[:2]):20} {time.monotonic() - started:10.1f} s")
