"""Restart a process when code or templates change, for `make dev`.

`python -m crm.dev.reload COMMAND [ARGUMENT ...]`. gunicorn replaces its workers and keeps its port, so a page that is asked
for meanwhile waits instead of failing; other commands are ended and started again. A command that ends by itself, say over a
mistake in the code, is started again after the next change.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from crm.core.config import ROOT

FOLDERS = ("crm", "jobs", "templates")
PAUSE = 0.5

Snapshot = dict[str, float]


def main(command: list[str]) -> int:
    """Run until this process is asked to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    seen, process = snapshot(), _start(command)
    try:
        while True:
            time.sleep(PAUSE)
            if (now := snapshot()) == seen:
                continue
            print(f"Reloading: {changed(seen, now)}", flush=True)
            seen, process = now, _restart(process, command)
    except KeyboardInterrupt:
        return 0
    finally:
        process.terminate()
        process.wait()


def snapshot(root: Path = ROOT) -> Snapshot:
    """Return when each file of code and templates last changed, without compiled ones."""
    return {
        path: _changed_at(path)
        for top in FOLDERS
        for folder, _, names in os.walk(root / top)
        if not folder.endswith("__pycache__")
        for path in (os.path.join(folder, name) for name in names if not name.endswith(".mo"))
    }


def _changed_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:  # an editor is just replacing it
        return 0.0


def changed(before: Snapshot, after: Snapshot) -> str:
    """Name one file that is new, gone or different."""
    return os.path.relpath(min({path for path, _ in before.items() ^ after.items()}), ROOT)


def _restart(process: "subprocess.Popen[bytes]", command: list[str]) -> "subprocess.Popen[bytes]":
    if command[0] == "gunicorn" and process.poll() is None:
        process.send_signal(signal.SIGHUP)
        return process
    process.terminate()
    process.wait()
    return _start(command)


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "WEB_PRELOAD": "0"}  # so that gunicorn's processes read new code
    return subprocess.Popen(command, env=environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
