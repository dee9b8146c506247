"""The processes: `flask --app wsgi worker`, `flask --app wsgi scheduler`. They live here because `crm` knows no jobs."""

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from crm.core import queue
from jobs import worker as processes


def register(app: Flask) -> None:
    """Hang both commands on the app."""
    app.cli.add_command(worker)
    app.cli.add_command(scheduler)


@click.command()
@click.option("--queue", "names", multiple=True, type=click.Choice(queue.QUEUES), help="Only these queues.")
@click.option("--burst", is_flag=True, help="Stop when nothing waits any more.")
@with_appcontext
def worker(names: tuple[str, ...], *, burst: bool) -> None:
    """Work the queues, most urgent first."""
    processes.work(current_app._get_current_object(), queues=names or queue.QUEUES, burst=burst)  # type: ignore[attr-defined]


@click.command()
@with_appcontext
def scheduler() -> None:
    """Queue the periodic jobs; of several schedulers one leads."""
    processes.schedule(current_app._get_current_object())  # type: ignore[attr-defined]
