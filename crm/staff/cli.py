"""flask staff: create, list and disable staff accounts; sign-in links."""

from datetime import timedelta

import click

from crm.core import current
from crm.core.db import transaction
from crm.core.errors import Invalid, NotFound
from crm.staff import access, service
from crm.staff.one_time_links import INVITATION_LIFE

staff = click.Group("staff", help="Staff accounts.")

_ROLE = click.option("--role", "roles", type=click.Choice(list(access.ROLES)), multiple=True, required=True)


@staff.command()
@click.argument("email")
@_ROLE
@click.option("--name", help="Name shown on pages. Default: the first part of the address.")
def create(email: str, roles: tuple[str, ...], name: str | None) -> None:
    """Create an account and print an invitation: a sign-in link that works once, within three days."""
    try:
        with transaction():
            user = service.create(email=email, name=name or email.partition("@")[0], roles=roles)
            link = service.sign_in_link(user=user, life=INVITATION_LIFE, by_owner=_is_demo())
            click.echo(f"Invitation for {user.email}: {_address(link)}")
    except Invalid as error:
        raise click.ClickException(
            " ".join(text for texts in error.fields.values() for text in texts)
        ) from error


@staff.command("sign-in-link")
@click.argument("email")
@click.option("--minutes", type=click.IntRange(1, 7 * 24 * 60), default=15, show_default=True)
def sign_in_link(email: str, minutes: int) -> None:
    """Print a sign-in link that works once."""
    try:
        with transaction():
            user = service.by_email(email)
            link = service.sign_in_link(user=user, life=timedelta(minutes=minutes), by_owner=_is_demo())
            click.echo(_address(link))
    except NotFound as error:
        raise click.ClickException(error.message) from error


@staff.command("list")
def list_() -> None:
    """List all accounts with their roles."""
    with transaction():
        for user in service.everyone():
            state = "active" if user.active else "closed"
            click.echo(
                f"{user.id:5} {state:7} {user.email:40} {', '.join(sorted(role.name for role in user.roles))}"
            )


@staff.command()
@click.argument("email")
def disable(email: str) -> None:
    """Close an account and end its sessions."""
    try:
        with transaction():
            service.disable(user_id=service.by_email(email).id)
    except (NotFound, Invalid) as error:
        raise click.ClickException(error.message) from error


def _is_demo() -> bool:
    """Tell whether this is one person's machine, where who prints a link is who uses it."""
    return not current.settings().production


def _address(token: str) -> str:
    return f"{current.settings().public_url}/sign-in/{token}"
