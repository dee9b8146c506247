"""The real processes on ports and servers of their own: started, killed, restarted at will."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import requests
from redis import Redis

from crm import clock, local, queue
from crm.sandbox.keys import public_key_base64

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
FLASK = [str(BIN / "flask"), "--app", "wsgi"]
COMMANDS = {
    "web": [str(BIN / "gunicorn"), "wsgi:app", "--config", "crm/web/gunicorn.py"],
    "worker1": [*FLASK, "worker"],
    "worker2": [*FLASK, "worker"],
    "scheduler": [*FLASK, "scheduler"],
    "sandbox": [*FLASK, "sandbox"],
}


class Fleet:
    """Everything of one installation. `env` is what every process is started with."""

    def __init__(self, folder: Path, *, postgres: str, redis: str) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.web_port, self.sandbox_port = _free_port(), _free_port()
        self.database_url = postgres
        self.rings = 0
        self.redis_url = redis
        self.sandbox_url = f"http://127.0.0.1:{self.sandbox_port}"
        self.web_url = f"http://127.0.0.1:{self.web_port}"
        self.env = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "PYTEST_"))
            },
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
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
        log = (self.folder / f"{name.rstrip('0123456789')}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            COMMANDS[name], cwd=ROOT, env={**self.env, **env}, stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def crowd(self, *, workers: int, schedulers: int) -> Callable[[], None]:
        """Start more of a kind; return what ends them again."""
        names = [f"worker{number}" for number in range(3, 3 + workers)] + [
            f"scheduler{n}" for n in range(2, 2 + schedulers)
        ]
        for name in names:
            COMMANDS[name] = (
                COMMANDS[name.rstrip("0123456789")] if name.startswith("s") else COMMANDS["worker1"]
            )
            self.start(name)

        def end() -> None:
            for name in names:
                self.kill(name)
                del self.processes[name], COMMANDS[name]

        return end

    def kill(self, name: str) -> None:
        """kill -9, with whatever it started."""
        process = self.processes[name]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def ensure(self, **env: str) -> list[str]:
        """Start whatever is not running; return the names."""
        dead = [
            name for name in COMMANDS if name not in self.processes or self.processes[name].poll() is not None
        ]
        for name in dead:
            self.start(name, **env)
        return dead

    def stop(self) -> None:
        """End everything, kindly first."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for name, process in self.processes.items():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill(name)

    def flask(self, *command: str) -> str:
        """Run one command to its end; return what it printed."""
        done = subprocess.run(
            [*FLASK, *command], cwd=ROOT, env=self.env, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"flask {' '.join(command)}: {done.stderr[-2000:]}")
        return done.stdout

    def skip(self, days: float) -> None:
        """Move the clock of all processes ahead, and wake whoever is due."""
        clock.use_offset_file(self.folder / "clock")
        try:
            clock.move_ahead(timedelta(days=days))
        finally:
            clock.use_offset_file(None)
        self.ring()

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
        clock.use_offset_file(self.folder / "clock")
        ahead = (planned[0] - clock.now()).total_seconds() + 60
        clock.use_offset_file(None)
        if ahead > 0:
            self.skip(ahead / 86_400)
        else:
            self.ring()
        wait_until(lambda: len(self.inbox(address)) > before, seconds=30, what="the next email")

    def inbox(self, address: str) -> list[dict[str, Any]]:
        """What the stand-in took for one address, oldest first."""
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
        """Ask for planning, sweeping and applying now, as the scheduler does every few seconds."""
        self.rings += 1
        queue.connect(Redis.from_url(self.redis_url))
        queue.push(
            [
                (name, (), f"ring-{self.rings}")
                for name in ("sequences.plan", "messages.sweep", "tracking.sweep")
            ]
        )
        queue.redis().close()

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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def fleet(**env: str) -> Iterator[Fleet]:
    """A fresh installation in a folder of its own: migrated, content approved, sequences live, everything started."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        ours = Fleet(folder, postgres=local.postgres_url(folder), redis=local.redis_url(folder))
        ours.env.update(env)
        ours.flask("db", "upgrade")
        ours.flask("content", "load", "--approved-by-demo")
        ours.flask("sequences", "load", "--live")
        try:
            ours.ensure()
            wait_until(
                lambda: requests.get(f"{ours.web_url}/health/live", timeout=2).ok,
                seconds=60,
                what="the web to answer",
            )
            wait_until(
                lambda: requests.get(f"{ours.sandbox_url}/sandbox/status", timeout=2).ok,
                seconds=60,
                what="the sandbox",
            )
            yield ours
        finally:
            ours.stop()
    finally:
        local.stop_embedded(folder)
        shutil.rmtree(folder, ignore_errors=True)
