"""Commands that bring content into the database, and out of it."""

from pathlib import Path

import click
from flask.cli import with_appcontext

from crm.content import files, service
from crm.core.db import transaction
from crm.core.errors import Invalid, Refusal

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


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--drafts", is_flag=True, help="The newest texts whatever their state, not only approved ones.")
@with_appcontext
def export_command(folder: Path, *, drafts: bool) -> None:
    """Write every text into FOLDER, to the byte, in the folders that the shipped files have."""
    count = 0
    for path, data in files.stored(drafts=drafts):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        count += 1
    click.echo(f"Content: {count} files written.")


@click.command("import")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--author", default="import", help="Who wrote them, as the history names it.")
@with_appcontext
def import_command(paths: tuple[Path, ...], *, author: str) -> None:
    """Make each file the draft of its item, to the byte. Nothing is in use before it was reviewed."""
    for path in paths:
        try:
            with transaction():
                made = files.take_in(
                    files.read(path.read_bytes()), key=files.key_of(str(path.resolve())), actor=author
                )
                said = f"{made.item.key} ({made.language}): version {made.number}, {made.state}"
        except Refusal as error:
            why = error.fields if isinstance(error, Invalid) else error.message
            raise click.ClickException(f"{path}: {why}") from error
        click.echo(said)
