"""flask api-key: create, list and revoke API keys.

A key can belong to one practice, so these commands stand with the practices.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask.cli import AppGroup

from crm.core.db import transaction
from crm.core.errors import Invalid, Refusal
from crm.referrers import service as referrers
from crm.staff.keys import api_keys

api_key = AppGroup("api-key", help="API keys of other systems.")


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Print a refusal as one sentence and exit with status 1."""
    try:
        yield
    except Invalid as error:
        raise click.ClickException(
            "; ".join(word for words in error.fields.values() for word in words)
        ) from error
    except Refusal as error:
        raise click.ClickException(error.message) from error


@api_key.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(api_keys.SCOPES))
@click.option("--practice-npi", help="Limit the key to the practice of the clinician with this NPI.")
def create(name: str, scopes: tuple[str, ...], practice_npi: str | None) -> None:
    """Create a key and print it once: the key alone on standard output, the rest on standard error."""
    with _plain_errors(), transaction():
        clinician = referrers.by_npi(practice_npi) if practice_npi else None
        if practice_npi and clinician is None:
            raise Invalid({"practice-npi": ["No clinician with this NPI found."]})
        row, plain = api_keys.create(
            name=name, scopes=scopes, practice_id=clinician.practice_id if clinician else None
        )
        said = f"Key {row.id} for {', '.join(row.scopes)}. Keep it safe: it is shown this once."
    click.echo(said, err=True)
    click.echo(plain)


@api_key.command("list")
def list_() -> None:
    """List all keys: ID, first characters, name, scopes, last use."""
    with transaction():
        for row in api_keys.every():
            used = f"used {row.last_used_at:%Y-%m-%d}" if row.last_used_at else "not used yet"
            state = "revoked" if row.revoked_at else used
            practice = f"practice {row.practice_id}" if row.practice_id else "any practice"
            click.echo(
                f"{row.id:>4}  {row.hint}…  {row.name}  [{', '.join(row.scopes)}]  {practice}  {state}"
            )


@api_key.command("revoke")
@click.argument("number", type=int)
def revoke(number: int) -> None:
    """Revoke a key, from the next request on."""
    with _plain_errors(), transaction():
        api_keys.revoke(number)
    click.echo(f"Key {number} is revoked.")
