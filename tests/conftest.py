"""The app on a real PostgreSQL, rolled back after each test; a real Redis; a clock that tests set."""

import base64
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fasteners
import psycopg
import pytest
import time_machine
from alembic.script import ScriptDirectory
from flask.testing import FlaskClient
from flask_migrate import upgrade
from playwright.sync_api import Browser, sync_playwright
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import event

import jobs  # noqa: F401 - declares every job, as wsgi.py does
from crm.app import create_app
from crm.core import config, queue
from crm.core.db import db, transaction
from crm.core.flask_app import CrmApp
from crm.dev import local

ROOT = Path(__file__).resolve().parent.parent
TEST_DIR = Path(os.environ.get("LOCAL_DIR") or ROOT / ".local") / "test"
NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)  # a Tuesday, 9:00 in Los Angeles


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once, in the process that outlives all test processes."""
    if hasattr(config, "workerinput"):
        return
    TEST_DIR.mkdir(parents=True, exist_ok=True)
    if not os.environ.get("DATABASE_URL"):
        with fasteners.InterProcessLock(TEST_DIR / "servers.lock"):
            os.environ["TEST_POSTGRES"] = local.postgres_url(TEST_DIR)
    if not os.environ.get("REDIS_URL"):
        own = TEST_DIR / f"run-{os.getpid()}"  # a Redis of this run alone: several may run side by side
        os.environ["TEST_REDIS"] = local.redis_url(own)
        config.add_cleanup(lambda: shutil.rmtree(own, ignore_errors=True))


@pytest.fixture(scope="session")
def servers() -> tuple[str, str]:
    """URLs of PostgreSQL and Redis: those of the environment, else embedded ones."""
    postgres = os.environ.get("DATABASE_URL") or os.environ["TEST_POSTGRES"]
    redis = os.environ.get("REDIS_URL") or os.environ["TEST_REDIS"]
    return postgres.replace("+psycopg", ""), redis


@pytest.fixture(scope="session")
def settings(servers: tuple[str, str], worker_id: str) -> Iterator[config.Settings]:
    """Settings of this test process, with a database of its own made from a migrated template."""
    base = config.load(
        {
            "LOCAL_DIR": str(TEST_DIR),
            "SECRET_KEY": "tests-only-0123456789-0123456789-0123456789",
            "FIELD_KEYS": "t1:" + base64.b64encode(b"t" * 32).decode(),
            "SENDGRID_API_KEY": "SG.tests.key",
            "REDIS_URL": servers[1],
        }
    )
    name = f"test_{os.getpid()}_{worker_id}"
    template = _template(base, servers[0])
    with psycopg.connect(_database(servers[0], "postgres"), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template "{template}"')
    yield replace(base, database_url=config._postgres(_database(servers[0], name)))
    with psycopg.connect(_database(servers[0], "postgres"), autocommit=True) as admin:
        admin.execute(f'drop database "{name}" with (force)')


def _database(url: str, name: str) -> str:
    """The same server's URL with another database in it."""
    head, _, query = url.partition("?")
    return head.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")


def _template(base: config.Settings, server: str) -> str:
    """Make, once per state of the migrations, a migrated database to copy from; return its name."""
    scripts = ScriptDirectory(str(ROOT / "crm" / "migrations"))
    texts = b"".join(
        path.read_bytes() for path in sorted((ROOT / "crm" / "migrations" / "versions").glob("*.py"))
    )
    name = f"template_{scripts.get_current_head()}_{abs(hash_of(texts)):x}"
    with (
        fasteners.InterProcessLock(TEST_DIR / "template.lock"),
        psycopg.connect(_database(server, "postgres"), autocommit=True) as admin,
    ):
        if not admin.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            admin.execute(f'drop database if exists "{name}_new"')
            admin.execute(f'create database "{name}_new"')
            app = create_app(replace(base, database_url=config._postgres(_database(server, f"{name}_new"))))
            with app.app_context():
                upgrade()
                db.engine.dispose()
            admin.execute(f'alter database "{name}_new" rename to "{name}"')
    return name


def hash_of(data: bytes) -> int:
    """A hash that is the same in every process."""
    return int.from_bytes(hashlib.sha256(data).digest()[:6])


@pytest.fixture(scope="session")
def app(settings: config.Settings) -> Iterator[CrmApp]:
    """The application of this test process."""
    app = create_app(settings)
    app.testing = True
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def database(app: CrmApp) -> Iterator[CrmApp]:
    """An app context whose database is rolled back at the end, whatever the code under test commits."""
    with app.app_context():
        engines = db.engines
        engine = engines[None]
        connection = engine.connect()
        outer = connection.begin()
        engines[None] = connection  # type: ignore[assignment]
        made = db.session
        db.session = db._make_scoped_session({"join_transaction_mode": "create_savepoint"})
        try:
            yield app
        finally:
            db.session.remove()
            db.session = made
            engines[None] = engine
            outer.rollback()
            connection.close()


@pytest.fixture
def edge(database: CrmApp) -> Iterator[None]:
    """Inside a transaction, as at any edge: for tests that call services directly."""
    with transaction():
        yield


@pytest.fixture
def client(database: CrmApp, redis: Redis) -> FlaskClient:
    """A browser that is not signed in."""
    return database.test_client()


@pytest.fixture
def redis(app: CrmApp, worker_id: str) -> Iterator[Redis]:
    """A real Redis, emptied before and after; each test process has a database number of its own."""
    number = 1 + (int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0) % 14
    client = Redis.from_url(app.settings.redis_url or "", db=number)
    client.flushdb()
    queue.connect(client)
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def asked(redis: Redis) -> Callable[[], list[tuple[Any, ...]]]:
    """Call it to see which jobs wait in Redis: (name, *ids), oldest first per queue."""

    def look() -> list[tuple[Any, ...]]:
        found = []
        for name in queue.QUEUES:
            for job_id in queue.queue(name).get_job_ids():
                job = Job.fetch(job_id, connection=redis, serializer=JSONSerializer)
                found.append((job.func_name.removeprefix("jobs."), *job.args))
        return found

    return look


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Time stands still at NOW until the test moves it: clock.shift(seconds), clock.move_to(moment)."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def statements(database: CrmApp) -> Callable[[], Any]:
    """`with statements() as counted: ...` counts what goes to the database; see `counted.total` and `counted.texts`."""

    class Counted:
        def __init__(self) -> None:
            self.texts: list[str] = []

        @property
        def total(self) -> int:
            return len(self.texts)

    @contextmanager
    def count() -> Iterator[Counted]:
        counted = Counted()

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            counted.texts.append(statement)

        engine = db.engines[None]
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield counted
        finally:
            event.remove(engine, "before_cursor_execute", note)

    return count


CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. Its absence is a visible skip on a person's machine and a failure in CI."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing; in CI that is a failure.")
        pytest.skip("Chromium is not installed here; browser journeys are skipped.")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()
