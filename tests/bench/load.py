"""A load generator in a process of its own: prepared requests over non-blocking sockets, one connection each.

A new connection per request is what a reverse proxy in front of sync workers does, and it spreads the work over all
workers; with kept connections one worker can end up with all of them, and figures come in two kinds.
"""

import argparse
import json
import math
import resource
import selectors
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def request(path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of one request: GET, or POST where there is a body."""
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    """Store prepared requests, each after its length."""
    with path.open("wb") as file:
        for one in requests:
            file.write(struct.pack("<I", len(one)) + one)


def read_requests(path: Path) -> list[bytes]:
    data, at, requests = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        requests.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return requests


def percentile(values: list[float], share: float) -> float:
    """Return the nearest-rank percentile of `values` (share 0..1)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Slot:
    """One request on its way."""

    __slots__ = ("began", "left", "received", "sock")

    def __init__(self, port: int, payload: bytes) -> None:
        self.began = time.perf_counter()
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setblocking(False)
        self.left = memoryview(payload)
        self.received = b""

    def send(self) -> bool:
        """Write what the socket takes; True when all is written."""
        try:
            while self.left:
                self.left = self.left[self.sock.send(self.left) :]
        except BlockingIOError:
            return False
        return True

    def receive(self) -> bool:
        """Read what is there; True once the server has closed."""
        chunk = self.sock.recv(65536)
        self.received += chunk
        return not chunk


def run(
    port: int, requests: list[bytes], *, connections: int, seconds: float | None, rate: float | None
) -> dict[str, Any]:
    """Fire; return rates and latencies (ms).

    `seconds` cycles through the requests for that long; without it each goes once. `rate` (requests per second)
    starts them on a fixed timetable, `connections` at most at a time; without it as fast as answers come.
    """
    waiting = deque(requests)
    watch, latencies, statuses = selectors.EpollSelector(), [], Counter()
    opened = 0
    begin = time.perf_counter()
    while True:
        now = time.perf_counter() - begin
        more = bool(waiting) if seconds is None else now < seconds
        while more and opened < connections and (rate is None or (len(latencies) + opened) <= now * rate):
            payload = waiting.popleft()
            if seconds is not None:
                waiting.append(payload)
            slot = Slot(port, payload)
            watch.register(slot.sock, selectors.EVENT_READ if slot.send() else selectors.EVENT_WRITE, slot)
            opened += 1
            more = bool(waiting)
        if not opened and not more:
            break
        for key, events in watch.select(0.001 if rate else 1):
            slot = key.data
            if events & selectors.EVENT_WRITE:
                if slot.send():
                    watch.modify(slot.sock, selectors.EVENT_READ, slot)
            elif slot.receive():
                latencies.append((time.perf_counter() - slot.began) * 1000)
                statuses[slot.received[9:12].decode()] += 1
                watch.unregister(slot.sock)
                slot.sock.close()
                opened -= 1
    wall = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "requests": len(latencies),
        "rate": len(latencies) / wall,
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
        "max_ms": max(latencies),
        "wall": wall,
        "statuses": dict(statuses),
        "generator_cpu": used.ru_utime + used.ru_stime,
    }


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("port", type=int)
    options.add_argument("file", type=Path)
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--seconds", type=float)
    options.add_argument("--rate", type=float)
    given = options.parse_args()
    result = run(
        given.port,
        read_requests(given.file),
        connections=given.connections,
        seconds=given.seconds,
        rate=given.rate,
    )
    json.dump(result, sys.stdout)
