"""flask audit: verify the audit log."""

import sys

import click

from crm.audit import service
from crm.core.db import transaction

audit = click.Group("audit", help="The audit log.")


@audit.command()
@click.option(
    "--expect", metavar="NUMBER:HASH", help="A link from a log that is kept elsewhere (event audit.sealed)."
)
def verify(expect: str | None) -> None:
    """Verify that nothing was changed, deleted or reordered. Exit status 1 if something was."""
    number, _, digest = (expect or "").partition(":")
    expected = (int(number), digest) if expect else None
    with transaction():
        service.seal()
        findings = service.verify(expected=expected)
    for finding in findings:
        click.echo(f"{finding.kind:10} {finding.text}")
    click.echo(f"{len(findings)} findings." if findings else "The audit log is intact.")
    sys.exit(1 if findings else 0)
