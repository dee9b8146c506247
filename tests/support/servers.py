"""PostgreSQL and Redis of a test run: started by the first test that needs them, stopped with the test process.

Those named by DATABASE_URL and REDIS_URL are used as they are. The embedded PostgreSQL is shared by all test processes of
this folder and stops with the last of them; a Redis is so small that each process has its own.
"""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import fasteners
import psutil
import psycopg
from psycopg import sql
from redis import Redis

from crm.core import config
from crm.dev import local

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("LOCAL_DIR") or ROOT / ".local") / "test"
MIGRATIONS = ROOT / "crm" / "migrations"
UNSAFE = ("fsync", "synchronous_commit", "full_page_writes")  # they guard against a power cut, at a price


def start_postgres() -> str:
    """Return the URL of PostgreSQL; start the embedded one where no other is named."""
    if url := os.environ.get("DATABASE_URL"):
        return url.replace("+psycopg", "")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _lock("servers"):
        _forget_the_dead(FOLDER / "postgres" / ".handle_pids.json")
        url = local.postgres_url(FOLDER).replace("+psycopg", "")
        _trade_safety_for_speed(url)
    return url


def start_redis() -> str:
    """Return the URL of Redis; start one for this process where no other is named."""
    return os.environ.get("REDIS_URL") or local.redis_url(_own_folder())


def redis_database(url: str, number: int) -> Redis:
    """Connect to one numbered database of a Redis. A number that `url` itself names would win over the argument `db`."""
    parts = urlsplit(url)
    path = parts.path if parts.scheme == "unix" else ""
    return Redis.from_url(f"{parts.scheme}://{parts.netloc}{path}", db=number)


def stop() -> None:
    """Stop what this process started, PostgreSQL only when no other test process uses it."""
    with _lock("servers"):
        local.stop_embedded(FOLDER)
    local.stop_embedded(_own_folder())
    shutil.rmtree(_own_folder(), ignore_errors=True)


def database_url(server: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    head, _, query = server.partition("?")
    return head.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")


def copy_database(settings: config.Settings, server: str, name: str) -> str:
    """Create a migrated database and return its URL."""
    migrated = template(settings, server)
    with psycopg.connect(database_url(server, "postgres"), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template "{migrated}"')
    return database_url(server, name)


def drop_database(server: str, name: str) -> None:
    """Drop a database, even while clients are connected."""
    with psycopg.connect(database_url(server, "postgres"), autocommit=True) as admin:
        admin.execute(f'drop database "{name}" with (force)')


def template(settings: config.Settings, server: str) -> str:
    """Make, once per state of the migrations, a migrated database to copy from; return its name."""
    texts = b"".join(path.read_bytes() for path in sorted((MIGRATIONS / "versions").glob("*.py")))
    name = f"template_{hashlib.sha256(texts).hexdigest()[:24]}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        _lock("template"),
        psycopg.connect(database_url(server, "postgres"), autocommit=True) as admin,
    ):
        if not admin.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            admin.execute(f'drop database if exists "{name}_new"')
            admin.execute(f'create database "{name}_new"')
            _migrate(replace(settings, database_url=config._postgres(database_url(server, f"{name}_new"))))
            admin.execute(f'alter database "{name}_new" rename to "{name}"')
    return name


def _migrate(settings: config.Settings) -> None:
    from flask_migrate import upgrade

    from crm.app import create_app
    from crm.core.db import db

    with create_app(settings).app_context():
        upgrade()
        db.engine.dispose()


def _own_folder() -> Path:
    return FOLDER / f"run-{os.getpid()}"


def _lock(name: str) -> fasteners.InterProcessLock:
    return fasteners.InterProcessLock(FOLDER / f"{name}.lock")


def _forget_the_dead(path: Path) -> None:
    """Remove test processes that were killed from the list of those that use the server."""
    if path.exists():
        path.write_text(
            json.dumps([pid for pid in json.loads(path.read_text() or "[]") if psutil.pid_exists(pid)])
        )


def _trade_safety_for_speed(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as admin:
        if admin.execute("show fsync").fetchone() == ("off",):
            return
        for name in UNSAFE:
            admin.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(name)))
        admin.execute("select pg_reload_conf()")
