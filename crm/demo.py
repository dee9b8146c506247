"""A believable demo clinic: clearly marked, removable by one command."""

import click

group = click.Group("demo", help="The demo clinic on this machine.")
