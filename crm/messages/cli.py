"""flask mail: responsibility for patient mail over a transport without a business associate agreement."""

import click
from flask.cli import with_appcontext

from crm.audit import service as audit
from crm.core.db import transaction
from crm.core.errors import Refusal
from crm.messages.limits import switches
from crm.staff import service as staff

mail = click.Group("mail", help="Mail: responsibility for patient mail.")

WORDING = (
    "I take responsibility for sending mail that tells that someone is a patient over {transport}, with which the "
    "clinic has no business associate agreement (45 CFR 164.502(e))."
)
_TRANSPORT = click.argument("transport", type=click.Choice(["sendgrid", "smtp"]))


@mail.command("take-responsibility")
@_TRANSPORT
@click.option("--by", "email", required=True, help="The administrator's sign-in address.")
@click.option("--yes", is_flag=True, help="Confirm without a question.")
@with_appcontext
def take_responsibility(*, transport: str, email: str, yes: bool) -> None:
    """Record that an administrator takes responsibility for patient mail over TRANSPORT."""
    wording = WORDING.format(transport=transport)
    if not yes:
        click.confirm(f"{wording}\nIs this your statement?", abort=True)
    try:
        with transaction():
            user = staff.by_email(email)
            if not user.active or "admin" not in {role.name for role in user.roles}:
                raise click.ClickException("Only an active administrator may do this.")
            with audit.acting(f"staff:{user.id}"):
                switches.attest_phi(transport=transport, wording=wording, by=f"staff:{user.id}")
    except Refusal as error:
        raise click.ClickException(error.message) from error
    click.echo(f"Recorded. Patient mail may be sent over {transport}.")


@mail.command("revoke-responsibility")
@_TRANSPORT
@with_appcontext
def revoke_responsibility(*, transport: str) -> None:
    """Revoke the statements for TRANSPORT; patient mail needs a transport with an agreement again."""
    with audit.acting("system"), transaction():
        revoked = switches.revoke_attestation(transport=transport)
    click.echo("Revoked." if revoked else f"There is no statement for {transport}.")
