"""A client of clamd, ClamAV's daemon: the command INSTREAM of its protocol (clamd(8))."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

CHUNK = 64 * 1024
SECONDS = 30


class ScannerError(Exception):
    """The scanner cannot be reached, or its answer is none of those it may give."""


def is_infected(content: bytes, *, address: str) -> bool:
    """Tell whether clamd finds something in these bytes. `address`: host:port, or the path of a socket.

    Raises ScannerError.
    """
    try:
        with _connected(address) as link:
            link.sendall(b"zINSTREAM\0")
            for start in range(0, len(content), CHUNK):
                part = content[start : start + CHUNK]
                link.sendall(struct.pack("!I", len(part)) + part)
            link.sendall(struct.pack("!I", 0))
            answer = _answer(link)
    except OSError as error:
        raise ScannerError(f"clamd at {address}: {error}") from error
    if answer.endswith("FOUND"):
        return True
    if answer == "stream: OK":
        return False
    raise ScannerError(f"clamd at {address} answered: {answer[:100]}")


@contextmanager
def _connected(address: str) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    if address.startswith("/"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(SECONDS)
            link.connect(address)
            yield link
    else:
        with socket.create_connection((host, int(port)), timeout=SECONDS) as link:
            yield link


def _answer(link: socket.socket) -> str:
    found = b""
    while not found.endswith(b"\0") and len(found) < 4096:
        part = link.recv(1024)
        if not part:
            break
        found += part
    return found.rstrip(b"\0\n").decode("utf-8", "replace")
