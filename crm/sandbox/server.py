"""A threaded WSGI server for the sandbox: HTTP/1.1 with keep-alive and connections that can be cut."""

import errno
import io
import signal
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from flask import Flask

from crm.sandbox.app import create_sandbox
from crm.sandbox.settings import SandboxSettings

_MOST_DRAINED_BYTES = 64 * 1024 * 1024


def run(settings: SandboxSettings, host: str = "127.0.0.1", port: int = 8025) -> None:
    """Serve until SIGINT or SIGTERM. Raises `SystemExit` with one sentence when the port is taken."""
    try:
        server = SandboxServer(settings, host=host, port=port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise SystemExit(f"The mail sandbox cannot start: port {port} is in use.") from error
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.serve()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()


class SandboxServer:
    """A sandbox listening on a port; a context manager serves it from a thread, for tests.

    `port` 0 takes a free one; `url` says where it listens.
    """

    def __init__(self, settings: SandboxSettings, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = _Server((host, port), _Handler)
        self.app = create_sandbox(settings)
        self._server.app = self.app
        self.port: int = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}"
        self._thread: threading.Thread | None = None

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self.app.extensions["sandbox"].close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve, name="sandbox", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    app: Flask

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle_request_of_any_method(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            self.send_error(411)
            return
        body = _Body(self.rfile, int(length))
        started: list[Any] = []
        chunks = self.server.app(self._environ(body), lambda *given: _start(started, given))
        try:
            self._answer(started[0], started[1], chunks)
        finally:
            if close := getattr(chunks, "close", None):
                close()
        if not body.drain(_MOST_DRAINED_BYTES):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_request_of_any_method  # noqa: N815

    def _answer(self, status: str, headers: list[tuple[str, str]], chunks: Iterable[bytes]) -> None:
        code, _, reason = status.partition(" ")
        names = {name.lower() for name, _ in headers}
        bodiless = self.command == "HEAD" or code in ("204", "304")
        chunked = "content-length" not in names and not bodiless
        added = [("Date", self.date_time_string())] if "date" not in names else []
        added += [("Transfer-Encoding", "chunked")] if chunked else []
        self.send_response_only(int(code), reason)
        for name, value in [*headers, *added]:
            self.send_header(name, value)
        self.end_headers()
        self._write_body(() if bodiless else chunks, chunked=chunked)

    def _write_body(self, chunks: Iterable[bytes], *, chunked: bool) -> None:
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked and chunk else chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _environ(self, body: "_Body") -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": self.client_address[0],
            "SERVER_NAME": self.server.server_name,
            "SERVER_PORT": str(self.server.server_port),
            "SERVER_PROTOCOL": self.request_version,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(body.left),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BufferedReader(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "sandbox.socket": self.connection,
        }
        for name, value in self.headers.items():
            if name.lower() not in ("content-type", "content-length"):
                environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environ

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: the journal has it, and a log would hold addresses."""


class _Body(io.RawIOBase):
    """Exactly the bytes of one request, so that the next one on the connection starts where it should."""

    def __init__(self, source: io.BufferedIOBase, length: int) -> None:
        self._source = source
        self.left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._source.read(min(len(buffer), self.left)) if self.left else b""
        buffer[: len(piece)] = piece
        self.left -= len(piece)
        if not piece:
            self.left = 0
        return len(piece)

    def drain(self, most: int) -> bool:
        """Read and forget what the application left; False when that is more than `most`."""
        if self.left > most:
            return False
        try:
            while self.left and self._source.read(min(self.left, 65536)):
                self.left -= min(self.left, 65536)
        except (TimeoutError, ConnectionError):
            return False
        return self.left == 0


def _start(started: list[Any], given: tuple[Any, ...]) -> Any:
    started[:] = given[:2]
    return None
