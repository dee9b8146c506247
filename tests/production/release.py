"""The release: what an image holds, built without Docker from what is committed."""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.support.stack import ROOT

DEV_BIN = Path(sys.executable).parent


def copied() -> list[str]:
    """Return what the Dockerfile copies into the image's /app."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return [
        parts[1]
        for line in lines
        if (parts := line.split())[:1] == ["COPY"] and len(parts) == 3 and parts[-1].startswith("/app")
    ]


def ignored() -> list[str]:
    """Return what .dockerignore leaves out of those folders."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith(("#", "!", "*"))]


def build(folder: Path) -> Path:
    """Build the release in `folder`: its code read-only, its packages those of production. Return the code's folder."""
    app, venv = folder / "app", folder / "app" / ".venv"
    _export(app)
    _run(DEV_BIN / "uv", "venv", "-q", "--python", _python(), venv)
    requirements = ("--require-hashes", "-r", ROOT / "requirements.txt")
    _run(
        DEV_BIN / "uv",
        "pip",
        "install",
        "-q",
        "--compile-bytecode",
        "--link-mode",
        "copy",
        "--python",
        venv / "bin" / "python",
        *requirements,
    )
    _run(venv / "bin" / "python", "-m", "crm.web.translations", cwd=app)
    _run(venv / "bin" / "python", "-m", "compileall", "-q", "crm", "jobs", "wsgi.py", cwd=app)
    _run("chmod", "-R", "a-w,a+rX", app)
    folder.chmod(0o755)
    return app


def _python() -> str:
    """Return a Python that another user may run: this one, unless it lies in a closed home folder; else the system's."""
    ours = Path(sys.executable).resolve()
    return str(ours) if all(folder.stat().st_mode & 0o001 for folder in ours.parents) else "/usr/bin/python3"


def _export(app: Path) -> None:
    """Write what is committed, with changes of tracked files, as the Dockerfile copies it."""
    stashed = subprocess.run(["git", "stash", "create"], cwd=ROOT, check=True, capture_output=True, text=True)
    archive = _run("git", "archive", stashed.stdout.strip() or "HEAD", *copied(), cwd=ROOT)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(app, filter="data")
    for name in ignored():
        shutil.rmtree(app / name, ignore_errors=True)


def _run(*command: str | Path, cwd: Path | None = None) -> bytes:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True)
    assert done.returncode == 0, f"{command[0]}: {done.stderr.decode()[-2000:]}"
    return done.stdout
