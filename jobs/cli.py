"""Process commands: `flask --app wsgi worker`, `workers` and `scheduler`. `crm` never imports `jobs`, so they live here."""

from functools import partial

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from crm.core import queue
from jobs import schedule
from jobs.worker import work
from jobs.workers import Parent


def register_commands(app: Flask) -> None:
    """Add the commands to the app."""
    app.cli.add_command(worker)
    app.cli.add_command(workers)
    app.cli.add_command(scheduler)


@click.command()
@click.option("--queue", "names", multiple=True, type=click.Choice(queue.QUEUES), help="Only these queues.")
@click.option("--burst", is_flag=True, help="Stop when no job waits.")
@with_appcontext
def worker(names: tuple[str, ...], *, burst: bool) -> None:
    """Run jobs in one process, most urgent queue first."""
    work(current_app._get_current_object(), queues=names or queue.QUEUES, burst=burst)  # type: ignore[attr-defined]


@click.command()
@click.option(
    "--urgent", type=click.IntRange(0, 64), default=1, envvar="URGENT_WORKERS", show_default=True,
    help="Workers that take confirmations and provider events only.",
)  # fmt: skip
@click.option(
    "--all", "general", type=click.IntRange(1, 64), default=2, envvar="WORKERS", show_default=True,
    help="Workers that take every job.",
)  # fmt: skip
@with_appcontext
def workers(*, urgent: int, general: int) -> None:
    """Run jobs in several processes of one parent, which share memory and are started again when they end."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    first = [partial(work, app, queues=(queue.URGENT, queue.EVENTS))] * urgent
    Parent([*first, *[partial(work, app)] * general]).run()


@click.command()
@with_appcontext
def scheduler() -> None:
    """Queue the periodic jobs. Of several schedulers, one leads."""
    schedule.run()
