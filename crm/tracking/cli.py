"""flask events: posts of provider events that were set aside."""

import click
from flask.cli import with_appcontext

from crm.audit import service as audit
from crm.core.db import transaction
from crm.tracking import service

events = click.Group("events", help="Events of the mail provider.")


@events.command("retry")
@with_appcontext
def retry() -> None:
    """Apply again the posts that failed again and again and were set aside."""
    with audit.acting("system"), transaction():
        number = service.retry_failed()
    click.echo(f"Posts that the sweep applies again: {number:,}.")
