"""flask contacts: erase a person, delete expired records."""

import click
from flask.cli import with_appcontext
from sqlalchemy import select

from crm.audit import service as audit
from crm.core.db import db, transaction
from crm.core.errors import Refusal
from crm.leads.models import Lead
from crm.privacy import retention, rules, service

group = click.Group("contacts", help="Erase a person on request; delete expired records.")


@group.command()
@click.argument("reference")
@click.option("--reason", type=click.Choice(sorted(rules.REASONS)), required=True, help="Why.")
@click.option(
    "--despite-care", is_flag=True, help="Keeping a record of care was looked into, and need not be."
)
@click.option("--yes", is_flag=True, help="Do not ask again.")
@with_appcontext
def erase(*, reference: str, reason: str, despite_care: bool, yes: bool) -> None:
    """Erase the person whose lead has this REFERENCE, for good."""
    if not yes:
        click.confirm(f"Erase the person of {reference} for good? This cannot be undone", abort=True)
    try:
        with audit.acting("system"), transaction():
            lead = db.session.scalar(select(Lead).where(Lead.reference == reference.strip().upper()))
            if lead is None:
                raise click.ClickException("There is no lead with this reference.")
            done = service.erase(contact_id=lead.contact_id, reason=reason, despite_care=despite_care)
    except Refusal as error:
        raise click.ClickException(error.message) from error
    click.echo(f"Erased: {len(done.records)} records, {done.leads} leads.")


@group.command()
@with_appcontext
def purge() -> None:
    """Delete what nobody may keep any longer, now."""
    retention.purge()
    click.echo("Done.")
