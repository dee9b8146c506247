"""Fixtures of all tests: the app on a real PostgreSQL, rolled back after each test; a real Redis; a clock that tests set.

What only some tests need is imported where it is used: a test of a pure rule starts no server and imports no app.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
import time_machine

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from playwright.sync_api import Browser
    from redis import Redis

    from crm.core import config
    from crm.core.flask_app import CrmApp

NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)  # a Tuesday, 9:00 in Los Angeles


MARKS = {"browser": ("browser", "slow"), "chaos": ("slow",)}  # by folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of a folder alike."""
    for item in items:
        for mark in MARKS.get(item.path.parent.name, ()):
            item.add_marker(mark)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Drop the plugin of Hypothesis where no test uses it: for its summary it imports the library, half a second."""
    plugins = session.config.pluginmanager
    if "hypothesis" not in sys.modules and not plugins.has_plugin("dsession"):
        plugins.unregister(name="hypothesispytest")


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[str, str]]:
    """URLs of PostgreSQL and Redis: those of the environment, else embedded ones."""
    from tests.support import servers

    yield servers.start_postgres(), servers.start_redis()
    servers.stop()


@pytest.fixture(scope="session")
def settings(servers: tuple[str, str], worker_id: str) -> Iterator[config.Settings]:
    """Settings of this test process, with a database of its own made from a migrated template."""
    from crm.core import config
    from tests.support.servers import FOLDER, copy_database, drop_database

    base = config.load(
        {
            "LOCAL_DIR": str(FOLDER),
            "SECRET_KEY": "tests-only-0123456789-0123456789-0123456789",
            "FIELD_KEYS": "t1:" + base64.b64encode(b"t" * 32).decode(),
            "SENDGRID_API_KEY": "SG.tests.key",
            "REDIS_URL": servers[1],
            "SENDING_MARK_FILE": str(FOLDER / f"sending-mark-{os.getpid()}.json"),
            "AUDIT_SEAL_FILE": str(FOLDER / f"audit-seals-{os.getpid()}.txt"),
        }
    )
    name = f"test_{os.getpid()}_{worker_id}"
    url = copy_database(base, servers[0], name)
    yield replace(base, database_url=config._postgres(url))
    drop_database(servers[0], name)
    base.sending_mark_file.unlink(missing_ok=True)
    base.audit_seal_file.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def app(settings: config.Settings) -> Iterator[CrmApp]:
    """The application of this test process."""
    import jobs  # noqa: F401 - declares every job, as wsgi.py does
    from crm.app import create_app
    from crm.core.db import db

    app = create_app(settings)
    app.testing = True
    # a hash that is worth its name takes 0.3 s
    app.extensions["security"].pwd_context.update(
        argon2__time_cost=1, argon2__memory_cost=8, argon2__parallelism=1
    )
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def database(app: CrmApp) -> Iterator[CrmApp]:
    """An app context whose database is rolled back at the end, whatever the code under test commits."""
    from crm.core.db import db

    app.settings.sending_mark_file.unlink(missing_ok=True)  # outside the database, so not rolled back
    app.settings.audit_seal_file.unlink(missing_ok=True)
    with app.app_context():
        engines = cast("dict[str | None, Any]", db.engines)
        engine = engines[None]
        connection = engine.connect()
        outer = connection.begin()
        connection.exec_driver_sql("update sending_control set alive_at = null where alive_at is not null")
        engines[None] = connection
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
    from crm.core.db import transaction

    with transaction():
        yield


@pytest.fixture
def client(database: CrmApp, redis: Redis) -> FlaskClient:
    """A browser that is not signed in."""
    return database.test_client()


@pytest.fixture
def redis(app: CrmApp, worker_id: str) -> Iterator[Redis]:
    """A real Redis, emptied before and after; each test process has a database number of its own."""
    from tests.support.servers import redis_database

    number = 1 + (int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0) % 14
    client = redis_database(app.settings.redis_url or "", number)
    client.flushdb()
    kept, app.services.redis = app.services.redis, client
    yield client
    app.services.redis = kept
    client.flushdb()
    client.close()


@pytest.fixture
def queued_jobs(redis: Redis) -> Callable[[], list[tuple[Any, ...]]]:
    """Call it to see which jobs wait in Redis: (name, *ids), oldest first per queue."""
    from rq.job import Job
    from rq.serializers import JSONSerializer

    from crm.core import queue

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
    from sqlalchemy import event

    from crm.core.db import db

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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. Its absence is a visible skip on a person's machine and a failure in CI."""
    from tests.support import chromium

    if chromium.PATH is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing; in CI that is a failure.")
        pytest.skip("Chromium is not installed here; browser journeys are skipped.")
    with chromium.launch() as browser:
        yield browser
