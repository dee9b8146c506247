"""Commands for the keys of other systems; a key may be one practice's, which is why they live here."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask.cli import AppGroup

from crm.core.db import transaction
from crm.core.errors import Invalid, Refusal
from crm.referrers import service as referrers
from crm.staff import api_keys

api_key = AppGroup("api-key", help="Keys by which other systems speak to us.")


@contextmanager
def _said_plainly() -> Iterator[None]:
    """Turn a refusal into a sentence and exit status 1."""
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
@click.option(
    "--practice-npi", help="Let the key speak only for the practice of the clinician with this NPI."
)
def create(name: str, scopes: tuple[str, ...], practice_npi: str | None) -> None:
    """Make a key and show it, once: the key alone on standard output, words about it on standard error."""
    with _said_plainly(), transaction():
        clinician = referrers.by_npi(practice_npi) if practice_npi else None
        if practice_npi and clinician is None:
            raise Invalid({"practice-npi": ["No clinician we know has this NPI."]})
        row, plain = api_keys.create(
            name=name, scopes=scopes, practice_id=clinician.practice_id if clinician else None
        )
        said = f"Key {row.id} for {', '.join(row.scopes)}. Keep it safe: it is shown this once."
    click.echo(said, err=True)
    click.echo(plain)


@api_key.command("list")
def list_() -> None:
    """Show all keys: number, first characters, name, scopes, last use."""
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
    """Make a key good for nothing, from the next request on."""
    with _said_plainly(), transaction():
        api_keys.revoke(number)
    click.echo(f"Key {number} is revoked.")
