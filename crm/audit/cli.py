"""flask audit: verify the audit log, print its seal."""

import sys
from pathlib import Path

import click

from crm.audit import seals, service
from crm.core.db import transaction

audit = click.Group("audit", help="The audit log.")


@audit.command()
@click.option(
    "--seal", "given", multiple=True, metavar="LINE", help="A seal from an email or a log (audit.head)."
)
@click.option(
    "--seals",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of seals.",
)
def verify(given: tuple[str, ...], files: tuple[Path, ...]) -> None:
    """Verify that nothing was changed, deleted, inserted or reordered. Exit status 1 if something was."""
    outside = [*given, *(line for path in files for line in path.read_text().splitlines())]
    with transaction():
        service.seal()
        findings = seals.verify(outside)
    for finding in findings:
        click.echo(f"{finding.kind:10} {finding.text}")
    click.echo(f"{len(findings)} findings." if findings else "The audit log is intact.")
    sys.exit(1 if findings else 0)


@audit.command()
def seal() -> None:
    """Print the seal of now, to be kept outside."""
    with transaction():
        service.seal()
        made = seals.make()
    click.echo(made.line if made else "The audit log is empty.")
