"""The sandbox on real ports, a webhook that listens, and a browser."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from crm.sandbox import SandboxServer, SandboxSettings, create_sandbox
from tests.sandbox.requests_data import KEY


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Hook:
    """An event webhook: keeps each post as (headers, raw body), answers with `status`."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                raw = self.rfile.read(length)
                if len(raw) < length:  # the sender died in the middle
                    self.close_connection = True
                    return
                outer.posts.append((dict(self.headers), raw))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = _Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/events?from=sandbox"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for _, raw in list(self.posts) for event in orjson.loads(raw)]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Return the events told so far once there are `count`."""
        wait_until(lambda: len(self.events) >= count)
        return self.events

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def wait_until(holds: Callable[[], bool], *, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


@pytest.fixture
def quiet(tmp_path: Path) -> SandboxSettings:
    """Settings of a sandbox without a webhook."""
    return SandboxSettings(
        api_key=KEY,
        signing_key_path=tmp_path / "key.pem",
        store_path=tmp_path / "mail.db",
        event_delay=0,
        wave_gap=0,
        retry_first=0.05,
    )


@pytest.fixture
def client(quiet: SandboxSettings) -> Iterator[FlaskClient]:
    app = create_sandbox(quiet)
    yield app.test_client()
    app.extensions["sandbox"].close()


@pytest.fixture
def server(quiet: SandboxSettings, hook: Hook) -> Iterator[SandboxServer]:
    """A sandbox on a port of its own that sends its events to `hook`."""
    with SandboxServer(SandboxSettings(**{**vars(quiet), "webhook_url": hook.url})) as server:
        yield server
