"""Process commands: `flask --app wsgi worker` and `flask --app wsgi scheduler`. `crm` never imports `jobs`, so they live here."""

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from crm.core import queue
from jobs import schedule
from jobs.worker import work


def register_commands(app: Flask) -> None:
    """Add both commands to the app."""
    app.cli.add_command(worker)
    app.cli.add_command(scheduler)


@click.command()
@click.option("--queue", "names", multiple=True, type=click.Choice(queue.QUEUES), help="Only these queues.")
@click.option("--burst", is_flag=True, help="Stop when no job waits.")
@with_appcontext
def worker(names: tuple[str, ...], *, burst: bool) -> None:
    """Run jobs, most urgent queue first."""
    work(current_app._get_current_object(), queues=names or queue.QUEUES, burst=burst)  # type: ignore[attr-defined]


@click.command()
@with_appcontext
def scheduler() -> None:
    """Queue the periodic jobs. Of several schedulers, one leads."""
    schedule.run()
