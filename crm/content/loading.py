"""`flask content load`: the shipped files into the database."""

import click
from flask.cli import with_appcontext

from crm.content import service
from crm.db import transaction
from crm.errors import Refusal

DEMO_REVIEWERS = ("Demo clinician", "Demo compliance officer")


@click.command()
@click.option(
    "--approved-by", multiple=True, metavar="NAME", help="Twice: the clinical, then the compliance reviewer."
)
@click.option("--approved-by-demo", is_flag=True, help="In the names of the demo clinic's two reviewers.")
@with_appcontext
def load(approved_by: tuple[str, ...], *, approved_by_demo: bool) -> None:
    """Bring the shipped emails and blocks into the database as new versions, where their text is new.

    Without reviewers' names they wait in review, and nothing is sent from them.
    """
    try:
        with transaction():
            done = service.load_shipped(reviewers=DEMO_REVIEWERS if approved_by_demo else approved_by)
    except Refusal as error:
        raise click.ClickException(error.message) from error
    click.echo(f"Content: {done.added} new, {done.unchanged} unchanged.")
