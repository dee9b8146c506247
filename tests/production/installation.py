"""An installation as docs/deploy.md describes it: the release as another user, its units, nginx with TLS, the sandbox."""

import base64
import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import requests

from crm.sandbox.events.signing_key import public_key_base64
from crm.sandbox.server import SandboxServer
from crm.sandbox.settings import SandboxSettings
from tests.production import authority
from tests.support.stack import ROOT, free_port, wait_until

DOCS = ROOT / "docs" / "deploy"
UNITS = DOCS / "systemd"
NOBODY = 65_534  # owns nothing of the release


def unit_command(unit: str) -> str:
    """Return what a systemd unit starts, without the folder of its packages."""
    found = re.search(
        r"^ExecStart=/opt/clinic/current/\.venv/bin/(.+)$", (UNITS / unit).read_text(), re.MULTILINE
    )
    assert found is not None, unit
    return found[1]


COMMANDS = {
    "web": unit_command("clinic-web.service"),
    "workers": unit_command("clinic-workers.service"),
    "scheduler": unit_command("clinic-scheduler.service"),
}


class Installation:
    """One installation over the servers of DATABASE_URL and REDIS_URL, in `folder`; `app` is the built release."""

    def __init__(self, folder: Path, app: Path, *, sandbox: SandboxServer, env: dict[str, str]) -> None:
        self.folder, self.app, self.sandbox, self.env = folder, app, sandbox, env
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = env["PUBLIC_URL"]
        self.admin_url = self.owner_url = env["DATABASE_URL"]
        self.ca = str(folder / "tls" / "ca.pem")
        self.user: dict[str, Any] = (
            {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        )

    def flask(self, *command: str, **env: str) -> str:
        """Run one command as the service's user; return what it printed. Raises AssertionError when it fails."""
        done = self.run(f"flask --app wsgi {' '.join(command)}", **env)
        assert done.returncode == 0, f"flask {command[0]}: {done.stdout}{done.stderr[-3000:]}"
        return done.stdout

    def migrate(self) -> None:
        """Make the roles, migrate as the owner, and take from the service what new tables granted it."""
        give_roles(self.admin_url)
        self.flask("db", "upgrade", DATABASE_URL=self.owner_url)
        give_roles(self.admin_url)

    def run(self, command: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the release as the service's user, to its end."""
        return subprocess.run(
            self._command(command), cwd=self.app, env={**self.env, **env}, check=False, text=True,
            capture_output=True, **self.user,
        )  # fmt: skip

    def start(self, name: str, **env: str) -> None:
        """Start the process that the unit of this name starts."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._command(COMMANDS[name]), cwd=self.app, env={**self.env, **env}, stdout=log, stderr=log,
                start_new_session=True, **self.user,
            )  # fmt: skip

    def stop(self) -> dict[str, int]:
        """End all processes as systemd does; return their exit statuses. One that does not end in time is -9."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        ended = {name: _wait(process) for name, process in self.processes.items()}
        self.processes.clear()
        return ended

    def logs(self) -> str:
        """Return all that the processes wrote."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask for a page through the proxy, with the certificate checked."""
        return requests.get(f"{self.url}{path}", verify=self.ca, timeout=20, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """Send something through the proxy, with the certificate checked."""
        return requests.post(f"{self.url}{path}", verify=self.ca, timeout=20, **options)

    def await_web(self) -> None:
        """Wait until the web process answers through the proxy."""
        wait_until(lambda: self.get("/health/live").ok, seconds=60, what="the web process to answer")

    def inbox(self, address: str) -> list[dict[str, Any]]:
        """Return what the sandbox accepted for one address."""
        query = {"to": address, "limit": "100"}
        return list(
            requests.get(f"{self.sandbox.url}/sandbox/messages", params=query, timeout=10).json()["messages"]
        )

    def _command(self, command: str) -> list[str]:
        program, *arguments = command.split()
        return [str(self.app / ".venv" / "bin" / program), *arguments]


def _wait(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return -9


@contextlib.contextmanager
def installed(folder: Path, app: Path) -> Iterator[Installation]:
    """An installation with its proxy and its sandbox running, its database empty; ended and removed afterwards."""
    web_port, https_port = free_port(), free_port()
    authority.make(folder / "tls")
    state = folder / "state"
    state.mkdir()
    if os.getuid() == 0:
        os.chown(state, NOBODY, NOBODY)
    with _database() as database, _sandbox(folder, web_port) as sandbox:
        env = _environment(folder, web_port=web_port, https_port=https_port, sandbox=sandbox)
        ours = Installation(
            folder, app, sandbox=sandbox, env={**env, "DATABASE_URL": _as(database, "clinic_app")}
        )
        ours.admin_url, ours.owner_url = database, _as(database, "clinic_owner")
        with nginx(folder, web_port=web_port, https_port=https_port):
            try:
                yield ours
            finally:
                ours.stop()


def give_roles(admin_url: str) -> None:
    """Run docs/deploy/roles.sql."""
    passwords = ("-v", "owner_password=owner", "-v", "app_password=app")
    done = subprocess.run(
        ["psql", "-q", "-X", admin_url, *passwords, "-f", DOCS / "roles.sql"], check=False, text=True, capture_output=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _as(url: str, role: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:{role[7:]}@{parts.netloc.rpartition('@')[2]}").geturl()


@contextlib.contextmanager
def _database() -> Iterator[str]:
    server, name = os.environ["DATABASE_URL"].replace("+psycopg", ""), f"production_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
    yield server.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'drop database "{name}" with (force)')


@contextlib.contextmanager
def _sandbox(folder: Path, web_port: int) -> Iterator[SandboxServer]:
    settings = SandboxSettings(
        api_key="SG.production.test",
        webhook_url=f"http://127.0.0.1:{web_port}/webhooks/sendgrid",
        signing_key_path=folder / "signing.pem",
        store_path=folder / "sandbox",
    )
    with SandboxServer(settings) as server:
        yield server


def _environment(folder: Path, *, web_port: int, https_port: int, sandbox: SandboxServer) -> dict[str, str]:
    state = folder / "state"
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SSL_CERT_FILE": str(folder / "tls" / "ca.pem"),
        "CRM_MODE": "production",
        "PUBLIC_URL": f"https://localhost:{https_port}",
        "PORT": str(web_port),
        "TRUSTED_PROXIES": "1",
        "METRICS_TOKEN": secrets.token_urlsafe(24),
        "REDIS_URL": os.environ["REDIS_URL"],
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_KEYS": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "AUDIT_KEYS": "a1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "SENDGRID_API_KEY": "SG.production.test",
        "SENDGRID_URL": sandbox.url,
        "SENDGRID_WEBHOOK_KEY": public_key_base64(folder / "signing.pem"),
        "BACKUP_FOLDER": str(state),
        "BACKUP_KEYS": "b1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "SENDING_MARK_FILE": str(state / "sending-mark.json"),
        "LOCAL_DIR": str(state),
        "CLINIC_NAME": "Example Clinic",
        "CLINIC_PHONE": "+1 555 010 0199",
        "CLINIC_ADDRESS": "100 Example Street, Exampleton, CA 90000",
        "CLINIC_FROM_EMAIL": "news@clinic.example",
        "CLINIC_TIME_ZONE": "America/Los_Angeles",
    }


@contextlib.contextmanager
def nginx(folder: Path, *, web_port: int, https_port: int) -> Iterator[None]:
    """The nginx of docs/deploy, with the names and ports of this machine."""
    site = (DOCS / "nginx.conf").read_text()
    http_port = free_port()
    for old, new in (
        ("127.0.0.1:8000", f"127.0.0.1:{web_port}"),
        ("crm.clinic.example", "localhost"),
        ("/etc/ssl/clinic", str(folder / "tls")),
        ("/var/log/nginx", str(folder)),
        ("listen 443", f"listen 127.0.0.1:{https_port}"),
        ("listen 80", f"listen 127.0.0.1:{http_port}"),
    ):
        assert old in site, old
        site = site.replace(old, new)
    site = site.replace("return 301 https://localhost", f"return 301 https://localhost:{https_port}")
    (folder / "clinic.conf").write_text(site)
    temporary = "".join(
        f"{kind}_temp_path {folder}/nginx-{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/nginx.pid;\ndaemon off;\nworker_processes 1;\nerror_log {folder}/nginx-error.log;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{\n{temporary}include {folder}/clinic.conf;\n}}\n"
    )
    command = ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx-error.log")]
    checked = subprocess.run([*command, "-t"], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command)
    try:
        _await_port(https_port)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _await_port(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")
