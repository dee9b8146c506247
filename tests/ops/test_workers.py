"""The parent of several workers: starts again what ended, passes on requests to end, forks nothing that is in use."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from jobs import workers
from tests.architecture.test_production_imports import ENVIRONMENT
from tests.support.stack import ROOT

PARENT = """
import os, signal, sys
from crm.core import logs
from jobs import workers

logs.configure("ERROR")

def work(name):
    def end(*_):
        os.write(1, f"end {name}\\n".encode())
        sys.exit()
    signal.signal(signal.SIGTERM, end)
    os.write(1, f"begin {name} {os.getpid()}\\n".encode())
    while True:
        signal.pause()

workers.pause_after = lambda _: 0.0
workers.Parent([lambda: work("a"), lambda: work("b")]).run()
os.write(1, b"parent ends\\n")
"""
IN_USE = """
import os, threading
from unittest.mock import patch
import wsgi
from jobs import workers

def fork():
    paths = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    sockets = [path for path in paths if os.path.lexists(path) and os.readlink(path).startswith("socket:")]
    os.write(1, f"{len(os.listdir('/proc/self/task'))} threads, {len(sockets)} sockets".encode())
    os._exit(0)

with patch.object(os, "fork", fork):
    wsgi.app.test_cli_runner().invoke(args=["workers"], catch_exceptions=False)
"""


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield process
        process.kill()


def begun(parent: "subprocess.Popen[str]", count: int) -> dict[str, int]:
    """Return the pid of each of the next `count` workers that begin."""
    assert parent.stdout is not None
    lines = [parent.stdout.readline().split() for _ in range(count)]
    assert all(word == "begin" for word, *_ in lines), lines
    return {name: int(pid) for _, name, pid in lines}


def test_a_killed_worker_is_started_again_and_all_end_on_request(parent):
    first = begun(parent, 2)
    os.kill(first["b"], signal.SIGKILL)
    again = begun(parent, 1)
    assert again["b"] != first["b"]
    parent.terminate()
    said = parent.stdout.read().splitlines()
    assert sorted(said[:2]) == ["end a", "end b"]
    assert said[2:] == ["parent ends"]
    assert parent.wait() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells a process that its parent was killed.")
def test_workers_of_a_killed_parent_end(parent):
    begun(parent, 2)
    parent.kill()
    assert sorted(parent.stdout.read().splitlines()) == ["end a", "end b"]


@pytest.mark.skipif(sys.platform != "linux", reason="Reads /proc.")
def test_nothing_is_forked_that_two_processes_must_not_share():
    run = subprocess.run(
        [sys.executable, "-c", IN_USE], cwd=ROOT, env=ENVIRONMENT, check=False, capture_output=True, text=True
    )
    assert run.stdout == "1 threads, 0 sockets", run.stdout + run.stderr


def test_a_worker_that_ends_again_and_again_waits_longer():
    assert [workers.pause_after(row) for row in (0, 1, 2, 5, 50)] == [0, 1, 2, 16, 30]
