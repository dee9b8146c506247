"""One installation of ours for a measurement: a migrated database full of people, workers, web, and a moved clock.

People are made by a few set-based statements and kept as databases to copy from. It is always a Tuesday at 10:30 in
Los Angeles, so that quiet hours and weekday windows are open; where real time matters the clock is not moved.
"""

import atexit
import contextlib
import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
from flask_migrate import upgrade

import jobs  # noqa: F401 - declares every job, as wsgi.py does
from crm.app import create_app
from crm.campaigns import service as campaigns
from crm.content import seed
from crm.content.cli import DEMO_REVIEWERS
from crm.core import clock, config, queue
from crm.core.db import db, transaction
from crm.core.flask_app import CrmApp
from crm.sequences import service as sequences
from tests.bench.servers import Bench

ITEM, TOPIC = "contact-request/01-welcome", "prospect_edu"
WARM_ITEM, WARM_TOPIC, WARM_PEOPLE = "referring-provider/01-how-to-refer", "provider_nurture", 6_000

WORKERS = 3  # of `flask workers`: one for urgent jobs, two for all

CONTACTS = """
insert into contact (created_at, first_name, last_name, email, email_index, language, time_zone)
select now() - interval '1 day', 'Name' || mod(n, 500), 'Person', {email}, sha256(({email})::bytea),
    case when mod(n, 5) = 0 then 'es' else 'en' end,
    ('{{America/Los_Angeles,America/Denver,America/Chicago,America/New_York}}'::text[])[1 + mod(n, 4)]
from generate_series(1, %s::bigint) n
"""
CONSENT = """
with evidence as (
    insert into consent_record (contact_id, topic, action, language, source, actor, at, address_index)
    select id, %(topic)s, 'granted', language, 'form', 'bench', created_at, email_index from contact
    where email like %(like)s order by id returning id, contact_id, at, address_index)
insert into consent_state (contact_id, topic, granted, record_id, at, address_index)
select contact_id, %(topic)s, true, id, at, address_index from evidence
"""
PERSON = "'person' || n || '@example.test'"
OPEN = """
select exists (select 1 from campaign where state = 'freezing')
    or exists (select 1 from batch where state in ('ready', 'held', 'sending'))
"""

_templates: dict[int, str] = {}


def moved_clock() -> float:
    """Return the seconds to the coming Tuesday, 17:30 UTC."""
    now = dt.datetime.now(dt.UTC)
    day = now + dt.timedelta(days=(1 - now.weekday()) % 7 or 7)
    return (day.replace(hour=18, minute=30, second=0) - now).total_seconds()


class Clinic:
    """The harness's hold on one installation."""

    def __init__(
        self, bench: Bench, name: str, *, tls: bool = False, real_time: bool = False, **env: str
    ) -> None:
        self.bench, self.name = bench, name
        folder = bench.folder / "clinic"
        folder.mkdir(exist_ok=True)
        (folder / "clock").write_text("0" if real_time else str(moved_clock()))
        self.env = {
            "LOCAL_DIR": str(folder),
            "DATABASE_URL": bench.postgres.database_url(name, sqlalchemy=True),
            "REDIS_URL": bench.redis_url,
            "SENDGRID_URL": bench.sink.url(tls=tls),
            "SSL_CERT_FILE": str(bench.sink.ca),
            "LOG_LEVEL": "WARNING",
            "API_PER_MINUTE": "10000000",
            **env,
        }
        self.app: CrmApp = create_app(config.load(self.env))

    def sql(self, statement: str, values: Any = None) -> Any:
        """Run one statement on a connection of the harness; return the rows, if any."""
        with self.bench.postgres.connect(self.name) as connection:
            done = connection.execute(statement, values)
            return done.fetchall() if done.description else None

    def push(self, *requests: queue.JobRequest) -> None:
        """Queue jobs, as the scheduler does."""
        queue.push(requests, connection=self.app.services.redis)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """A transaction of the application, in this process."""
        with self.app.app_context(), transaction():
            yield

    @contextlib.contextmanager
    def workers(self) -> Iterator[list[int]]:
        """Two workers and the urgent one, warm, with their parent; yields their pids, the two first."""
        with self.bench.running(("-m", "flask", "--app", "wsgi", "workers"), env=self.env) as (parent,):
            until = time.monotonic() + 30
            while self.bench.redis.scard("rq:workers") < WORKERS and time.monotonic() < until:
                if parent.poll() is not None:
                    raise RuntimeError("The workers ended at once.")
                time.sleep(0.02)
            for number in range(2):
                self.broadcast(f"Warm {number}", item=WARM_ITEM)
                self.wait()
            urgent, *others = sorted(child.pid for child in psutil.Process(parent.pid).children())
            yield [*others, urgent, parent.pid]

    def broadcast(self, name: str = "News", **values: Any) -> int:
        """Launch a campaign now; return its id."""
        with self.inside():
            campaign_id = campaigns.create(**{"name": name, "item": ITEM, **values})
            campaigns.launch(campaign_id)
        return campaign_id

    def wait(self, *, statement: str = OPEN, patience: float = 300, pause: float = 0.01) -> float:
        """Wait until `statement` says false; return when."""
        until = time.monotonic() + patience
        with self.bench.postgres.connect(self.name) as connection:
            while connection.execute(statement).fetchone()[0]:
                if time.monotonic() > until:
                    raise TimeoutError(f"The workers did not finish: {_standing(connection)}")
                time.sleep(pause)
        return time.monotonic()


def _standing(connection: psycopg.Connection) -> list[Any]:
    return connection.execute("select kind, state, error, count(*) from batch group by 1, 2, 3").fetchall()


@contextlib.contextmanager
def clinic(
    bench: Bench, *, people: int, prepare: Callable[[Clinic], None] | None = None, **options: Any
) -> Iterator[Clinic]:
    """An installation with `people` who said yes to educational email; Redis empty, sink empty, disk settled."""
    with bench.postgres.connect() as connection:
        name = f"bench_run_{time.monotonic_ns()}"
        connection.execute(f"create database {name} template {_template(bench, people)}")
    bench.redis.flushdb()
    bench.sink.reset()
    made = Clinic(bench, name, **options)
    try:
        if prepare:
            prepare(made)
        bench.postgres.settle(name)
        yield made
    finally:
        with made.app.app_context():
            db.engine.dispose()
        with bench.postgres.connect() as connection:
            connection.execute(f"drop database {name} with (force)")


def _template(bench: Bench, people: int) -> str:
    """Make, once per run of the bench, a database with content, sequences and people; return its name."""
    if people not in _templates:
        name = f"bench_people_{people}"
        with bench.postgres.connect() as connection:
            connection.execute(f"drop database if exists {name} with (force)")
            connection.execute(f"create database {name}")
        made = Clinic(bench, name)
        with made.app.app_context():
            upgrade()
        with made.inside():
            seed.load_shipped(reviewers=DEMO_REVIEWERS)
            sequences.load_shipped(live=True)
        made.sql(CONTACTS.format(email=PERSON), (people,))
        made.sql(CONTACTS.format(email="'warm' || n || '@example.test'"), (WARM_PEOPLE,))
        made.sql(CONSENT, {"topic": TOPIC, "like": "person%"})
        made.sql(CONSENT, {"topic": WARM_TOPIC, "like": "warm%"})
        with made.app.app_context():
            db.engine.dispose()
        bench.postgres.settle(name)
        _templates[people] = name
        atexit.register(_drop, bench.postgres, name)
    return _templates[people]


def _drop(postgres: Any, name: str) -> None:
    with contextlib.suppress(psycopg.OperationalError), postgres.connect() as connection:
        connection.execute(f"drop database if exists {name} with (force)")


def forget(folder: Path) -> None:
    """Remove what an installation kept on disk."""
    shutil.rmtree(folder, ignore_errors=True)


def now() -> dt.datetime:
    """The time it is in the installation."""
    return clock.now()
