"""What `make run` says when it cannot start: one sentence, no traceback, nothing left running."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from crm.dev import launcher

ROOT = Path(__file__).resolve().parents[2]


def launch(*command: str, folder: Path, **env: str) -> tuple[int, str]:
    """Start as `make run` does, which must end by itself; return (exit status, what it said)."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env={**os.environ, "LOCAL_DIR": str(folder), **env}, check=False,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_a_port_in_use(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = launch("-m", "crm.dev.launch", folder=tmp_path, **{name: str(port)})
    assert status == 1
    assert said.startswith(f"Cannot start: port {port} is in use.")
    assert f"{name}={port + 100} make run" in said
    assert len(said.splitlines()) == 1


def test_a_missing_module(tmp_path):
    without = "import runpy, sys; sys.modules['honcho'] = None; runpy.run_module('crm.dev.launch', run_name='__main__')"
    status, said = launch("-c", without, folder=tmp_path)
    assert (status, len(said.splitlines())) == (1, 1)
    assert "package honcho is missing" in said


def test_running_already(tmp_path):
    record = tmp_path / "run" / "launch.json"
    record.parent.mkdir()
    me = psutil.Process()
    record.write_text(json.dumps([(me.pid, me.create_time())]))
    status, said = launch("-m", "crm.dev.launch", folder=tmp_path)
    assert (status, len(said.splitlines())) == (1, 1)
    assert f"it is running already (process {me.pid})" in said


@pytest.mark.parametrize("text", ["", "not json", "[[999999999, 1.0]]", "[[1, 12345.0]]"])
def test_a_stale_record_is_no_obstacle_and_harms_nobody(tmp_path, text):
    record = tmp_path / "launch.json"
    record.write_text(text)
    launcher._be_the_only_one(record)
    assert json.loads(record.read_text())[0][0] == os.getpid()


def test_what_a_killed_launcher_left_behind_is_ended(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as left:
        born = psutil.Process(left.pid).create_time()
        record = tmp_path / "launch.json"
        record.write_text(json.dumps([(999999999, 1.0), (left.pid, born)]))
        launcher._be_the_only_one(record)
        assert not psutil.pid_exists(left.pid)
