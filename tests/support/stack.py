"""The real processes on ports and servers of their own: started, killed, restarted at will."""

import atexit
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import fasteners
import psycopg
import requests
from redis import Redis
from redis.exceptions import RedisError

import jobs  # noqa: F401 - declares every job, as wsgi.py does
from crm.core import queue
from crm.core.demo_clock import DemoClock
from crm.dev import local
from crm.sandbox.events.signing_key import public_key_base64
from tests.support.forkserver import ForkedProcess, ForkServer
from tests.support.servers import FOLDER

ROOT = Path(__file__).resolve().parents[2]
FLASK = ["flask", "--app", "wsgi"]


class Stack:
    """Everything of one installation. `env` is what every process is started with."""

    def __init__(self, folder: Path, *, fork_server: ForkServer, postgres: str, redis: str) -> None:
        self.folder, self.fork_server = folder, fork_server
        self.commands = {
            "sandbox": [*FLASK, "sandbox"],
            "web": ["gunicorn", "wsgi:app", "--config", "crm/web/gunicorn.py"],
            "worker1": [*FLASK, "worker"],
            "worker2": [*FLASK, "worker"],
            "scheduler": [*FLASK, "scheduler"],
        }
        self.processes: dict[str, ForkedProcess] = {}
        self.clocks: list[str] = []  # those that are wrong
        self.web_port, self.sandbox_port = free_port(), free_port()
        self.database_url = postgres
        self.rings = self.people = self.runs = 0
        self.redis_url = redis
        self.sandbox_url = f"http://127.0.0.1:{self.sandbox_port}"
        self.web_url = f"http://localhost:{self.web_port}"  # as links have it: cookies belong to a host
        self.env = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "PYTEST_"))
            },
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "LOCAL_DIR": str(folder),
            "DATABASE_URL": postgres,
            "REDIS_URL": redis,
            "PORT": str(self.web_port),
            "SANDBOX_PORT": str(self.sandbox_port),
            "SENDGRID_WEBHOOK_KEY": public_key_base64(folder / "sandbox" / "signing.pem"),
            "WEB_WORKERS": "1",
        }

    def start(self, name: str, **env: str) -> None:
        """Start one process (again); its output goes to a file named after it."""
        self.processes[name] = self.fork_server.start(
            self.commands[name],
            env={**self.env, **env},
            log=self.folder / f"{name.rstrip('0123456789')}.log",
        )

    def crowd(self, *, workers: int = 0, schedulers: int = 0) -> Callable[[], None]:
        """Start so many more of a kind; return what ends them again."""
        names = [f"worker{number}" for number in range(3, 3 + workers)]
        names += [f"scheduler{number}" for number in range(2, 2 + schedulers)]
        for name in names:
            self.commands[name] = self.commands["scheduler" if name.startswith("s") else "worker1"]
            self.start(name)

        def end() -> None:
            for name in names:
                self.kill(name)
                del self.processes[name], self.commands[name]

        return end

    def kill(self, name: str) -> None:
        """kill -9, with whatever it started. Also of "redis", of PostgreSQL's "postmaster" or one "backend" of it."""
        if name == "redis":
            server = local._redis_servers[self.folder / "redis"]
            server.kill()
            server.wait()
        elif name in ("postmaster", "backend"):
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(self._postgres_pid(name), signal.SIGKILL)
        else:
            self.processes[name].signal(signal.SIGKILL)
            self.processes[name].wait()

    def _postgres_pid(self, name: str) -> int:
        """Of a backend: of one that works for us, else of whichever there is."""
        if name == "postmaster":
            return int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        with self.sql() as database:
            found = database.execute(
                "select pid from pg_stat_activity where backend_type = 'client backend' "
                "order by pid = pg_backend_pid(), state <> 'active', backend_start desc limit 1"
            ).fetchone()
        assert found is not None
        return int(found[0])

    def stop_postgres(self, mode: str = "fast") -> None:
        """Stop PostgreSQL: "fast" undoes what runs, "immediate" is a crash."""
        server = local._postgres_servers[self.folder]
        subprocess.run(
            [server.bin_path / "pg_ctl", "-w", "-D", str(server.pgdata), "stop", "-m", mode],
            check=False,
            capture_output=True,
            user=server.system_user,
        )

    def restart_postgres(self, mode: str = "fast") -> None:
        """Stop it and start it again."""
        self.stop_postgres(mode)
        self.ensure_servers()

    def ensure_servers(self) -> None:
        """Start PostgreSQL and Redis again where they died, and wait until they take connections."""
        local.redis_url(self.folder)

        def answers() -> bool:
            with contextlib.suppress(subprocess.SubprocessError, AssertionError):
                local._postgres_servers[self.folder].ensure_postgres_running()
            with self.sql() as database:
                return database.execute("select true").fetchone() == (True,)

        wait_until(answers, seconds=60, what="PostgreSQL to be back")

    def runs_not(self) -> list[str]:
        """Return the names of those that ended or were never started."""
        return [
            name
            for name in self.commands
            if name not in self.processes or self.processes[name].poll() is not None
        ]

    def ensure(self, **env: str) -> list[str]:
        """Start whatever is not running, the servers first; return the names of our own."""
        self.ensure_servers()
        dead = self.runs_not()
        for name in dead:
            self.start(name, **env)
        return dead

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """Every process running and answering; stopped at the end."""
        try:
            self.ensure()
            self.await_servers()
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """End everything, kindly first."""
        for process in self.processes.values():
            process.signal(signal.SIGTERM)
        for name, process in self.processes.items():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill(name)

    def flask(self, *command: str, seconds: float = 300) -> str:
        """Run one command to its end; return what it printed. Raises RuntimeError with its complaints."""
        self.runs += 1
        out, errors = (self.folder / f"run{self.runs}.{kind}" for kind in ("out", "err"))
        run = self.fork_server.start([*FLASK, *command], env=self.env, log=out, errors=errors)
        if run.wait(seconds):
            raise RuntimeError(f"flask {' '.join(command)}: {out.read_text()}{errors.read_text()[-2000:]}")
        return out.read_text()

    def skip(self, days: float) -> None:
        """Move the clock of all processes ahead, and wake due enrolments."""
        for name in (None, *self.clocks):
            self._clock(name).move_ahead(timedelta(days=days))
        self.ring()

    def off(self, name: str, by: timedelta) -> dict[str, str]:
        """Return the environment of a process whose machine's clock is wrong by so much."""
        own = self.folder / f"clock-{name}"
        own.mkdir(exist_ok=True)
        shutil.copy(self.folder / "secrets.json", own)
        if (self.folder / "clock").exists():
            shutil.copy(self.folder / "clock", own)
        self.clocks.append(name)
        self._clock(name).move_ahead(by)
        return {"LOCAL_DIR": str(own)}

    def now(self) -> datetime:
        """Return what time it is for all processes."""
        return datetime.now(UTC) + self._clock().offset()

    def _clock(self, name: str | None = None) -> DemoClock:
        return DemoClock((self.folder / f"clock-{name}" if name else self.folder) / "clock")

    def next_email(self, address: str) -> None:
        """Move the clock to when this person's next step is due, and wait until the email is there."""
        before = len(self.inbox(address))
        planned: list[Any] = []

        def due() -> bool:
            with self.sql() as database:
                found = database.execute(
                    "select min(e.due_at) from enrolment e join contact c on c.id = e.contact_id "
                    "where c.email = %s and e.state = 'active'",
                    [address],
                ).fetchone()
            planned[:] = found or ()
            return (
                bool(planned and planned[0]) or len(self.inbox(address)) > before
            )  # it may be on its way already

        wait_until(due, seconds=15, what=f"something to be planned for {address}")
        if not planned[0]:
            return
        ahead = (planned[0] - self.now()).total_seconds() + 60
        if ahead > 0:
            self.skip(ahead / 86_400)
        else:
            self.ring()
        wait_until(lambda: len(self.inbox(address)) > before, seconds=30, what="the next email")

    def inbox(self, address: str) -> list[dict[str, Any]]:
        """Return what the sandbox accepted for one address, oldest first."""
        answer = requests.get(
            f"{self.sandbox_url}/sandbox/messages",
            params={"to": address, "order": "oldest", "limit": 100},
            timeout=10,
        )
        return list(answer.json()["messages"])

    @contextlib.contextmanager
    def sql(self) -> Iterator[psycopg.Connection]:
        """A connection of the harness's own."""
        with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            yield connection

    def ring(self) -> None:
        """Queue planning, sweeping and applying now, as the scheduler does every few seconds.

        Not while many of these wait: on a slow machine, more would keep the workers from the last queue.
        """
        with contextlib.suppress(RedisError), Redis.from_url(self.redis_url) as redis:
            if int(redis.llen(f"rq:queue:{queue.LOW}")) > 10:
                return
        self.rings += 1
        requests = [
            queue.JobRequest(name, key=f"ring-{self.rings}")
            for name in ("sequences.plan", "messages.sweep", "tracking.sweep", "campaigns.look_after")
        ]
        self.push(*requests)

    def push(self, *requests: queue.JobRequest) -> None:
        """Queue jobs in the Redis of this installation."""

        with Redis.from_url(self.redis_url) as redis:
            queue.push(requests, connection=redis)

    def await_servers(self) -> None:
        """Wait until the web and the sandbox answer."""
        for url in (f"{self.web_url}/health/live", f"{self.sandbox_url}/sandbox/status"):
            wait_until(partial(_answers, url), seconds=60, what=f"{url} to answer")

    def logs(self) -> str:
        """All that the processes wrote."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))


def wait_until(true: Callable[[], bool], *, seconds: float, what: str, pause: float = 0.1) -> None:
    """Wait for something to come true. Raises TimeoutError naming it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException, psycopg.OperationalError):
            if true():
                return
        time.sleep(pause)
    raise TimeoutError(f"waited {seconds:g} s in vain: {what}")


def _answers(url: str) -> bool:
    return requests.get(url, timeout=2).ok


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def stopped_stack(installed: Path | None = None, **env: str) -> Iterator[Stack]:
    """A fresh installation in a folder of its own, or a copy of `installed`: its servers run, none of its processes."""
    folder, fork_server = Path(tempfile.mkdtemp(prefix="chaos-")), ForkServer()
    atexit.register(
        shutil.rmtree, folder, ignore_errors=True
    )  # the embedded server writes a lock file into it when it ends
    try:
        if installed is not None:  # cp keeps the owner of PostgreSQL's files, shutil does not
            subprocess.run(["cp", "-a", f"{installed}/.", folder], check=True)
        postgres, redis = local.postgres_url(folder), local.redis_url(folder)
        stack = Stack(folder, fork_server=fork_server, postgres=postgres, redis=redis)
        stack.env.update(env)
        yield stack
    finally:
        fork_server.close()
        local.stop_embedded(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_stack(**env: str) -> Iterator[Stack]:
    """A fresh installation: migrated, content approved, sequences live, every process started."""
    with stopped_stack(_installed(), **env) as stack, stack.started():
        yield stack


def _installed() -> Path:
    """Return the folder of an installation that nobody has used yet; made once a day for each state of the code."""
    kept = FOLDER / "installed" / _state_of_code()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with fasteners.InterProcessLock(FOLDER / "installed.lock"):
        if not kept.exists():
            shutil.rmtree(kept.parent, ignore_errors=True)
            kept.parent.mkdir()
            with stopped_stack() as stack:
                stack.flask("db", "upgrade")
                stack.flask("content", "load", "--approved-by-demo")
                stack.flask("sequences", "load", "--live")
                local.shut_down(stack.folder)
                shutil.rmtree(stack.folder / "run")  # of the process that made it
                subprocess.run(["cp", "-a", stack.folder, f"{kept}.new"], check=True)
            Path(f"{kept}.new").rename(kept)
    return kept


def _state_of_code() -> str:
    digest = hashlib.sha256(datetime.now(UTC).date().isoformat().encode())
    for path in sorted(path for name in ("crm", "jobs", "templates") for path in (ROOT / name).rglob("*")):
        if path.is_file() and path.suffix not in (".pyc", ".mo"):
            digest.update(f"{path} ".encode() + path.read_bytes())
    return digest.hexdigest()[:24]
