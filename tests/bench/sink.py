"""Where the mail of a measurement ends: a process that answers like the provider's send call, and counts.

Every body is read to its end and parsed, every recipient remembered by address and by our own message id, so that
a duplicate cannot hide. The answer goes out before the counting, which is no part of what is measured. It listens
twice, plain and with TLS from a certificate authority made at the start.

    POST /v3/mail/send    202 with X-Message-Id, after the set latency
    GET  /stats           what was counted since the last reset
    GET  /calls           [time, recipients, first address, first message id] of each call
    POST /arrivals        [addresses] -> {address: time of its latest arrival}
    POST /reset           {"latency": seconds}

Times are `time.monotonic()`, which all processes of one Linux machine share.
"""

import argparse
import asyncio
import contextlib
import datetime as dt
import gc
import gzip
import http.client
import ipaddress
import itertools
import json
import os
import resource
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.bench.machine import pin

ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nServer: sink\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 0\r\nX-Message-Id: sink%018d\r\n\r\n"
)


class Book:
    """What has arrived."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.reset()

    def reset(self) -> None:
        self.addresses: dict[str, float] = {}
        self.messages: dict[str, float] = {}
        self.calls: list[tuple[float, int, str, str]] = []
        self.recipients = self.repeated_addresses = self.repeated_messages = self.bytes = 0
        self.unreadable: list[str] = []
        self.numbers = itertools.count(1)

    def write(self, body: bytes) -> None:
        """Count one call."""
        try:
            self._count(orjson.loads(body), now=time.monotonic())
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            self.unreadable.append(repr(error))
        self.bytes += len(body)

    def _count(self, mail: Any, *, now: float) -> None:
        people = mail["personalizations"]
        addresses = [to["email"] for one in people for to in one["to"]]
        addresses += [
            to["email"] for one in people for kind in ("cc", "bcc") if kind in one for to in one[kind]
        ]
        shared = mail.get("custom_args") or {}
        messages = [arg for one in people if (arg := one.get("custom_args", shared).get("pp_msg"))]
        self.repeated_addresses += _add(self.addresses, addresses, now)
        self.repeated_messages += _add(self.messages, messages, now)
        self.recipients += len(addresses)
        self.calls.append((now, len(addresses), addresses[0], messages[0] if messages else ""))

    def stats(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "calls": len(self.calls),
            "recipients": self.recipients,
            "addresses": len(self.addresses),
            "messages": len(self.messages),
            "repeated_addresses": self.repeated_addresses,
            "repeated_messages": self.repeated_messages,
            "unreadable": self.unreadable[:3],
            "bytes": self.bytes,
            "first_at": self.calls[0][0] if self.calls else None,
            "last_at": self.calls[-1][0] if self.calls else None,
            "cpu": used.ru_utime + used.ru_stime,
        }


def _add(known: dict[str, float], names: list[str], now: float) -> int:
    """Add `names`; return how many were there already or came twice."""
    before = len(known)
    known.update(dict.fromkeys(names, now))
    return len(names) - (len(known) - before)


class Connection(asyncio.Protocol):
    """One kept connection: requests with a Content-Length, one after the other."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.buffer = bytearray()
        self.head = b""
        self.length = -1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self._one_request():
            pass

    def _one_request(self) -> bool:
        if self.length < 0:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return False
            self.head, self.buffer = bytes(head), rest
            self.length = int(self._header(b"content-length") or 0)
        if len(self.buffer) < self.length:
            return False
        body = bytes(self.buffer[: self.length])
        del self.buffer[: self.length]
        self.length = -1
        self._answer(body)
        return True

    def _header(self, name: bytes) -> bytes | None:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name:
                return value.strip()
        return None

    def _answer(self, body: bytes) -> None:
        method, path, _ = self.head.split(b" ", 2)
        if path == b"/v3/mail/send" and method == b"POST":
            answer = ACCEPTED % next(self.book.numbers)
            packed = self._header(b"content-encoding") == b"gzip"
            if self.book.latency:
                asyncio.get_running_loop().call_later(self.book.latency, self._write, answer)
            else:
                self._write(answer)
            self.book.write(gzip.decompress(body) if packed else body)
            return
        self._json(self._control(method + b" " + path, body))

    def _control(self, what: bytes, body: bytes) -> Any:
        if what == b"POST /reset":
            self.book.reset()
            self.book.latency = orjson.loads(body)["latency"]
            return {}
        if what == b"POST /arrivals":
            return {name: self.book.addresses.get(name) for name in orjson.loads(body)}
        if what == b"GET /calls":
            return self.book.calls
        return self.book.stats()

    def _json(self, value: Any) -> None:
        body = orjson.dumps(value)
        self._write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )

    def _write(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            if (self._header(b"connection") or b"").lower() == b"close":
                self.transport.close()


def _certificate(name: str, *, issuer: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
    """Make (key, certificate): an authority of its own, or a server's signed by `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[1].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, made.sign(issuer[0] if issuer else key, hashes.SHA256())


def make_certificates(folder: Path) -> None:
    """Write `ca.pem` (what a client trusts) and `server.pem` (key and certificate) into `folder`."""
    authority = _certificate("Bench authority")
    key, certificate = _certificate("localhost", issuer=authority)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority[1].public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(
        os.open(folder / "server.pem", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
    ) as file:
        file.write(secret + certificate.public_bytes(pem))


async def serve(folder: Path) -> None:
    """Listen plain and with TLS on two free ports, say which, run until standard input closes."""
    gc.disable()  # nothing here is cyclic, and scanning a million kept names would slow the sink down
    make_certificates(folder)
    book, loop = Book(), asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    plain = await loop.create_server(lambda: Connection(book), "127.0.0.1", 0, backlog=512)
    secure = await loop.create_server(lambda: Connection(book), "127.0.0.1", 0, backlog=512, ssl=context)
    ports = [server.sockets[0].getsockname()[1] for server in (plain, secure)]
    print(json.dumps({"plain": ports[0], "tls": ports[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


class Sink:
    """The harness's side: start the process, ask it, stop it."""

    def __init__(self, folder: Path, *, cpus: set[int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.sink", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ports = json.loads(self.process.stdout.readline())
        self.plain_port, self.tls_port = ports["plain"], ports["tls"]
        pin([self.process.pid], cpus)

    def url(self, *, tls: bool = False) -> str:
        """Return the base URL that a client is given in place of the provider's."""
        return f"https://localhost:{self.tls_port}" if tls else f"http://127.0.0.1:{self.plain_port}"

    def reset(self, *, latency: float = 0.0) -> None:
        self._ask("POST", "/reset", {"latency": latency})

    def stats(self) -> dict[str, Any]:
        return self._ask("GET", "/stats")

    def calls(self) -> list[list[Any]]:
        """Return [moment, recipients, first address, its message] of each call."""
        return self._ask("GET", "/calls")

    def arrivals(self, addresses: list[str]) -> dict[str, float | None]:
        return self._ask("POST", "/arrivals", addresses)

    def expect(self, recipients: int, *, once_per_address: bool = True) -> dict[str, Any]:
        """Return the stats; refuse a count that is not exact and any duplicate."""
        stats = self.stats()
        repeated = stats["repeated_messages"] + (stats["repeated_addresses"] if once_per_address else 0)
        if repeated or stats["unreadable"] or stats["recipients"] != recipients:
            raise AssertionError(f"Expected {recipients} recipients, each once; the sink counted {stats}")
        return stats

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.plain_port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body=None if body is None else orjson.dumps(body))
            return orjson.loads(connection.getresponse().read())

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    asyncio.run(serve(options.parse_args().folder))
