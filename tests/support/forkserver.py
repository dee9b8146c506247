"""Starts the real processes without importing everything anew for each: it has imported all of it, and forks.

Speaks lines of JSON, one answer per line: `{"argv", "env", "log", "errors"}` starts one and answers its pid, which is also its
process group; `{"poll": pid}` answers how it ended, null while it runs. When its input ends it ends what it started.
"""

import base64
import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class ForkedProcess:
    """One process of the fork_server; a likeness of `subprocess.Popen`."""

    def __init__(self, fork_server: "ForkServer", pid: int) -> None:
        self._fork_server, self.pid, self.returncode = fork_server, pid, None

    def poll(self) -> int | None:
        """Return how it ended: its status, or the signal's number below zero; None while it runs."""
        if self.returncode is None:
            self.returncode = self._fork_server.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        """Return how it ended. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return status

    def signal_only(self, number: int) -> None:
        """Send a signal to it alone, as a supervisor does."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def signal(self, number: int) -> None:
        """Send a signal to it and to whatever it started."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class ForkServer:
    """The harness's end of the wire; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forkserver"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(
        self, argv: list[str], *, env: dict[str, str], log: Path, errors: Path | None = None
    ) -> ForkedProcess:
        """Start one process; what it writes is added to `log`, and its complaints to `errors` where given."""
        files = {"log": str(log), "errors": str(errors or log)}
        return ForkedProcess(self, self.ask({"argv": argv, "env": env, **files}))

    def ask(self, question: dict[str, Any]) -> Any:
        wire = self._process
        with self._lock:
            assert wire.stdin is not None
            assert wire.stdout is not None
            wire.stdin.write(json.dumps(question).encode() + b"\n")
            wire.stdin.flush()
            return json.loads(wire.stdout.readline())

    def close(self) -> None:
        """End it, and with it everything that still runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _main() -> None:
    for name in (
        "gunicorn.app.wsgiapp",
        "gunicorn.workers.gthread",
        "flask.cli",
        "crm.sandbox",
        "crm.app",
        "jobs",
    ):
        importlib.import_module(name)
    _make_an_app()
    gc.freeze()
    children: set[int] = set()
    while line := sys.stdin.buffer.readline():
        question = json.loads(line)
        answer = _ended(question["poll"], children) if "poll" in question else _fork(question, children)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _make_an_app() -> None:
    """Import and compile what the first app of a process does: every process started from here finds it done."""
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "LOCAL_DIR": folder,
            "SECRET_KEY": "x" * 50,
            "FIELD_KEYS": f"k:{base64.b64encode(bytes(32)).decode()}",
        }
        sys.modules["crm.app"].create_app(sys.modules["crm.core.config"].load(given))
    sys.modules["sqlalchemy.orm"].configure_mappers()


def _ended(pid: int, children: set[int]) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    children.discard(pid)
    return os.waitstatus_to_exitcode(status)


def _fork(question: dict[str, Any], children: set[int]) -> int:
    pid = os.fork()
    if pid:
        with contextlib.suppress(
            PermissionError
        ):  # set from both sides: a process that kills the group must find it
            os.setpgid(pid, pid)
        children.add(pid)
        return pid
    _become(**question)
    raise AssertionError("unreachable")


def _become(*, argv: list[str], env: dict[str, str], log: str, errors: str) -> None:
    """Be this process from here on, to the end."""
    status = 1
    try:
        with contextlib.suppress(PermissionError):
            os.setpgid(0, 0)
        os.environ.clear()
        os.environ.update(env)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in ((1, log), (2, errors)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
        sys.argv = list(argv)
        door = (
            sys.modules["gunicorn.app.wsgiapp"].run
            if argv[0] == "gunicorn"
            else sys.modules["flask.cli"].main
        )
        door()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _main()
