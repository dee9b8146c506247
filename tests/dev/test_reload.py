"""`make dev`: what counts as a change, and what happens to the process then."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crm.dev import reload

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "crm/a.py",
        "jobs/b.py",
        "templates/c.html",
        "docs/d.md",
        "crm/__pycache__/a.pyc",
        "crm/es.mo",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize("name", ["crm/a.py", "jobs/b.py", "templates/c.html", "crm/new.py"])
def test_code_and_templates_are_watched(root, name):
    before = reload.snapshot(root)
    (root / name).touch()
    os.utime(root / name, (1, 1))
    after = reload.snapshot(root)
    assert before != after
    assert reload.changed(before, after).endswith(name)


@pytest.mark.parametrize("name", ["docs/d.md", "crm/__pycache__/a.pyc", "crm/es.mo"])
def test_other_files_are_not_watched(root, name):
    before = reload.snapshot(root)
    os.utime(root / name, (1, 1))
    assert reload.snapshot(root) == before


def test_a_running_command_is_replaced():
    first = subprocess.Popen(SLEEP)
    second = reload._restart(first, SLEEP)
    assert first.returncode == -signal.SIGTERM
    assert second.poll() is None
    second.kill()
    second.wait()


def test_a_command_that_ended_is_started_again():
    first = subprocess.Popen([sys.executable, "-c", ""])
    first.wait()
    second = reload._restart(first, SLEEP)
    assert second.poll() is None
    second.kill()
    second.wait()


def test_gunicorn_is_started_so_that_its_processes_read_new_code():
    said = reload._start([sys.executable, "-c", "import os, sys; sys.exit(os.environ['WEB_PRELOAD'] != '0')"])
    assert said.wait() == 0
