"""flask keys: what is encrypted with which key, and replacing a key."""

import base64
import sys

import click
from flask.cli import AppGroup

from crm.core import current
from crm.core.db import transaction
from crm.core.field_keys import CannotDecrypt
from crm.ops import keys as rotation

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
