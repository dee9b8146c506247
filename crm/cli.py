"""Flask commands: those of one command each, and the groups of features (`<feature>/cli.py`)."""

import sys
import time

import click
from flask.cli import with_appcontext

from crm.audit.cli import audit
from crm.clinic import service as clinic
from crm.content.cli import content
from crm.core import current
from crm.core.db import transaction
from crm.core.flask_app import CrmApp
from crm.messages.cli import mail
from crm.ops.cli import keys, ops
from crm.ops.doctor import examine
from crm.privacy.cli import group as contacts
from crm.referrers.cli import api_key
from crm.sequences import service as sequences
from crm.staff.cli import staff
from crm.tracking.cli import events


def register_commands(app: CrmApp) -> None:
    """Add every command to the app."""
    series = click.Group("sequences", help="Email sequences.")
    series.add_command(load_sequences)
    for command in (series, doctor, content, staff, api_key, audit, contacts, mail, events, keys, ops):
        app.cli.add_command(command)
    if not app.settings.production:
        from crm.dev import demo  # noqa: PLC0415 - never in production

        for command in (sandbox, demo.group):
            app.cli.add_command(command)


@click.command()
@with_appcontext
def sandbox() -> None:
    """Run the SendGrid sandbox: same API, an inbox, signed events."""
    from crm.sandbox.server import run  # noqa: PLC0415 - never in production
    from crm.sandbox.settings import SandboxSettings  # noqa: PLC0415

    settings = current.settings()
    folder = settings.local_dir / "sandbox"
    demo_clock = current.services().demo_clock
    run(
        SandboxSettings(
            api_key=settings.sendgrid_api_key,
            webhook_url=f"http://127.0.0.1:{settings.port}/webhooks/sendgrid",
            signing_key_path=folder / "signing.pem",
            store_path=folder / "store",
            clock=lambda: (
                time.time() + demo_clock.offset().total_seconds()
            ),  # its threads have no app context
        ),
        port=settings.sandbox_port,
    )


@click.command("load")
@click.option("--live", is_flag=True, help="Open new sequences for people at once.")
@with_appcontext
def load_sequences(*, live: bool) -> None:
    """Load the shipped sequences into the database as immutable versions."""
    with transaction():
        added = sequences.load_shipped(live=live)
    click.echo(f"Sequences: {added} new versions.")


@click.command()
@with_appcontext
def doctor() -> None:
    """Run diagnostics: print what is wrong and what to do; exit status 1 when there is a problem."""
    with transaction():
        clinic.apply()
    findings = examine(current.settings())
    for finding in findings:
        click.echo(f"{finding.level:8} {finding.text}")
    if not findings:
        click.echo("No problems found.")
    sys.exit(1 if any(finding.level == "problem" for finding in findings) else 0)
