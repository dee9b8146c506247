"""The servers that a measurement stands on, and the bench that holds them: PostgreSQL, Redis, sink, gunicorn."""

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis

from crm.dev.local import postgres_url, redis_url
from tests.bench import load
from tests.bench.machine import Meter, cores, pin
from tests.bench.sink import Sink

ROOT = Path(__file__).resolve().parents[2]

# As installed, but for these: checkpoints come between measurements, not at random inside them.
SETTINGS = {"max_wal_size": "4GB", "checkpoint_timeout": "30min", "log_line_prefix": "%d|%a|"}

# ... and the empty query by which the pool asks whether a connection still lives
_TRANSACTION_CONTROL = re.compile(
    r"(begin|start transaction|commit|rollback|savepoint|release|end)\b|;", re.IGNORECASE
)


class Postgres:
    """The embedded server, durable, with a log of statements on demand."""

    def __init__(self, folder: Path) -> None:
        self.sqlalchemy_url = postgres_url(folder)
        self.url = self.sqlalchemy_url.replace("+psycopg", "", 1)
        self.pid = int((folder / "postgres/postmaster.pid").read_text().split("\n", 1)[0])
        self.log = folder / "postgres/log"
        self.set(SETTINGS)
        with self.connect() as connection:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                if connection.execute(f"SHOW {name}").fetchone() != ("on",):
                    raise RuntimeError(f"PostgreSQL is not durable: {name} is off.")
            self.version = connection.execute("SHOW server_version").fetchone()[0]

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.database_url(database), autocommit=True)

    def database_url(self, database: str, *, sqlalchemy: bool = False) -> str:
        """Return the URL of one database, for libpq or for SQLAlchemy."""
        return re.sub(
            r"/postgres(?=\?|$)", f"/{database}", self.sqlalchemy_url if sqlalchemy else self.url, count=1
        )

    def set(self, settings: Mapping[str, str | None]) -> None:
        """Change server settings (None: back to the default) and wait until new sessions see them."""
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute(
                    f"ALTER SYSTEM SET {name} = '{value}'" if value else f"ALTER SYSTEM RESET {name}"
                )
            connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)

    @contextlib.contextmanager
    def database(self, name: str = "") -> Iterator[str]:
        """A new database; yields its name, drops it afterwards."""
        name = name or f"bench_{secrets.token_hex(4)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            with self.connect() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def settle(self, database: str) -> None:
        """Before the clock starts: statistics fresh, everything dirty on disk."""
        with self.connect(database) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    @contextlib.contextmanager
    def statements(self, database: str) -> Iterator["Statements"]:
        """Count what `database` is asked to execute, from the server's own log.

        Writing the log costs time, so a run that counts is not a run that is timed.
        """
        self.set({"log_statement": "all", "log_parameter_max_length": "0"})
        offset = self.log.stat().st_size
        seen = Statements()
        try:
            yield seen
        finally:
            time.sleep(0.2)
            with self.log.open("rb") as file:
                file.seek(offset)
                seen.read(file.read().decode(errors="replace"), database=database)
            self.set({"log_statement": None, "log_parameter_max_length": None})


@dataclass
class Statements:
    """Statements of one database: `total` with transaction control, `work` without, and how often each began."""

    total: int = 0
    work: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def read(self, text: str, *, database: str) -> None:
        line = re.compile(
            rf"^{re.escape(database)}\|[^|]*\|LOG: +(?:statement|execute [^:]*): *(.*)$", re.MULTILINE
        )
        for statement in line.findall(text):
            self.total += 1
            self.work += not _TRANSACTION_CONTROL.match(statement)
            self.kinds[" ".join(statement.split()[:4])[:60]] += 1


class Bench:
    """Everything a measurement may use; a context manager."""

    def __init__(
        self, folder: Path, *, quick: bool = False, share: float | None = None, core_count: int = 2
    ) -> None:
        self.folder, self.quick = folder, quick
        self.share = share or (0.1 if quick else 1)
        self.inside, self.outside = cores(core_count)
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Bench":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.postgres = Postgres(self.folder)
        self.redis_url = redis_url(self.folder)
        self.redis = Redis.from_url(self.redis_url)
        self.redis_pid = self.redis.info("server")["process_id"]
        self.sink = Sink(self.folder / "sink", cpus=self.outside)
        pin([self.postgres.pid, self.redis_pid], self.inside)
        os.sched_setaffinity(0, self.outside)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            self.end(process)
        self.sink.stop()
        self.redis.close()

    def size(self, count: int) -> int:
        """Return this bench's share of `count`: all of it, or a tenth in a quick run, or what was asked for."""
        return max(round(count * self.share), 1)

    def start(
        self, *command: str, env: Mapping[str, str] | None = None, cpus: set[int] | None = None
    ) -> subprocess.Popen[str]:
        """Start a Python process (`-m module ...` or a script) on the measured CPUs, pipes open."""
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )
        os.sched_setaffinity(process.pid, cpus or self.inside)
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[str], *, patience: float = 10) -> None:
        """End a process that `start` started."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.processes.remove(process)

    @contextlib.contextmanager
    def running(
        self, *commands: tuple[str, ...], env: Mapping[str, str] | None = None
    ) -> Iterator[list[subprocess.Popen[str]]]:
        """Several processes that live as long as the block."""
        started = [self.start(*command, env=env) for command in commands]
        try:
            yield started
        finally:
            for process in started:
                self.end(process)

    def meter(self, *, app: Iterable[int]) -> Meter:
        """CPU of the application, the database and Redis over a block."""
        return Meter({"app": list(app), "postgres": [self.postgres.pid], "redis": [self.redis_pid]})

    @contextlib.contextmanager
    def gunicorn(
        self, app: str, *, workers: int = 2, threads: int = 1, env: Mapping[str, str] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Serve `app`; yields (port, pid of the master)."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        kind = ["-k", "gthread", "--threads", str(threads)] if threads > 1 else ["-k", "sync"]
        command = (
            "-m",
            "gunicorn",
            *kind,
            "-w",
            str(workers),
            "-b",
            f"127.0.0.1:{port}",
            "--log-level",
            "warning",
            app,
        )
        with self.running(command, env=env) as (process,):
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if process.poll() is not None:
                    raise RuntimeError(f"gunicorn ended at once: {app}")
                time.sleep(0.05)
            time.sleep(0.5)  # the port opens before the workers have imported the application
            yield port, process.pid

    def load(
        self,
        port: int,
        requests: Iterable[bytes],
        *,
        connections: int = 16,
        seconds: float | None = None,
        rate: float | None = None,
    ) -> dict[str, Any]:
        """Run the load generator beside the measured CPUs; refuse any answer that is not 2xx."""
        path = self.folder / f"requests-{secrets.token_hex(4)}.bin"
        load.write_requests(path, requests)
        arguments = ["-m", "tests.bench.load", str(port), str(path), "--connections", str(connections)]
        arguments += ["--seconds", str(seconds)] if seconds else []
        arguments += ["--rate", str(rate)] if rate else []
        process = self.start(*arguments, cpus=self.outside)
        try:
            answer = json.loads(process.communicate()[0])
        finally:
            self.end(process)
            path.unlink()
        if any(not status.startswith("2") for status in answer["statuses"]):
            raise AssertionError(f"The server refused: {answer['statuses']}")
        return answer
