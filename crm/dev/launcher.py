"""`make run`: everything on one machine. Checks, starts the servers, brings the data up to date, runs the Procfile.

`python -m crm.dev.launch` runs it; with `--reload`, as `make dev` does, a change of code or templates restarts the processes.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
from honcho.environ import parse_procfile
from honcho.manager import Manager

from crm.core import config
from crm.core.config import ROOT
from crm.dev import local
from crm.sandbox.events.signing_key import public_key_base64

BIN = Path(sys.executable).parent


def main(*, reload: bool = False) -> int:
    """Run until Ctrl-C; return the exit status."""
    try:
        settings = config.load()
        record = settings.local_dir / "run" / "launch.json"
        _be_the_only_one(record)
        environ = _environment(settings)
    except (config.ConfigError, local.LocalError) as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        return 1
    try:
        return _prepare(environ) or _supervise(settings, environ, record, reload=reload)
    finally:
        record.unlink(missing_ok=True)
        local.shut_down(settings.local_dir)


def _prepare(environ: dict[str, str]) -> int:
    """Bring the data up to date, in one process; return 0, or the exit status when that did not succeed."""
    done = subprocess.run(
        [BIN / "flask", "--app", "wsgi", "demo", "prepare"],
        cwd=ROOT,
        env={"LOG_LEVEL": "WARNING", **environ},  # ninety made-up days would fill the screen with sent mail
        check=False,
    )
    if done.returncode:
        print(
            "Cannot start: the data could not be brought up to date; the lines above say why.",
            file=sys.stderr,
        )
    return done.returncode


def _be_the_only_one(record: Path) -> None:
    """Refuse to start twice on the same data; end what a launcher that was killed left behind."""
    try:
        noted = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        noted = []
    alive = [process for pid, born in noted if (process := _same(pid, born))]
    if alive and alive[0].pid == noted[0][0]:
        raise local.LocalError(
            f"it is running already (process {alive[0].pid}). Stop that one first, or give this one a folder of its own: "
            "LOCAL_DIR=/some/folder make run"
        )
    for process in alive:
        process.terminate()
    _, stubborn = psutil.wait_procs(alive, timeout=10)
    for process in stubborn:
        process.kill()
    _note(record)


def _same(pid: int, born: float) -> psutil.Process | None:
    """The process that had this number then, if it still lives."""
    try:
        process = psutil.Process(pid)
        return process if abs(process.create_time() - born) < 1 else None
    except psutil.NoSuchProcess:
        return None


def _note(record: Path) -> None:
    """Record the process ids of this launcher and of what it started, its own first."""
    me = psutil.Process()
    servers = ("postgres", "redis-server")  # the next start takes them over
    ours = [me, *(child for child in me.children(recursive=True) if child.name() not in servers)]
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps([(process.pid, process.create_time()) for process in ours]))


def _environment(settings: config.Settings) -> dict[str, str]:
    """Return what every process is started with; starts the embedded servers where no others are named."""
    for name, port in (("PORT", settings.port), ("SANDBOX_PORT", settings.sandbox_port)):
        if not local.port_is_free(port):
            raise local.LocalError(
                f"port {port} is in use. Stop what listens there, or choose another: {name}={port + 100} make run"
            )
    environ = dict(os.environ)
    environ["PATH"] = f"{BIN}{os.pathsep}{environ.get('PATH', '')}"
    environ["PORT"], environ["SANDBOX_PORT"] = str(settings.port), str(settings.sandbox_port)
    environ["DATABASE_URL"] = settings.database_url or local.postgres_url(settings.local_dir)
    environ["REDIS_URL"] = settings.redis_url or local.redis_url(settings.local_dir)
    if not settings.sendgrid_webhook_keys:
        key = settings.local_dir / "sandbox" / "signing.pem"
        environ["SENDGRID_WEBHOOK_KEY"] = public_key_base64(key)
    return environ


def _supervise(
    settings: config.Settings, environ: dict[str, str], record: Path, *, reload: bool = False
) -> int:
    manager = Manager()
    for name, command in parse_procfile((ROOT / "Procfile").read_text()).processes.items():
        if reload:
            command = f"exec python -m crm.dev.reload {command}"
        manager.add_process(name, command, quiet=False, env=environ, cwd=str(ROOT))
    threading.Thread(target=_greet, args=(settings, environ, record), daemon=True).start()
    manager.loop()
    # Ctrl-C and SIGTERM are how this is meant to end
    return 0 if manager.returncode in (None, 130, 143, -2, -15) else int(manager.returncode)


def _greet(settings: config.Settings, environ: dict[str, str], record: Path) -> None:
    """Say where everything is, once it answers."""
    time.sleep(1)
    _note(record)
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{settings.public_url}/health/ready", timeout=2):  # noqa: S310 - our own address
                break
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    subprocess.run([BIN / "flask", "--app", "wsgi", "demo", "sign-ins"], cwd=ROOT, env=environ, check=False)
