"""Slow senders: clients that send a request byte by byte, before the proxy and without it."""

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import requests

from crm.web.server import READ_SECONDS
from tests.chaos.results import Done, Skipped
from tests.chaos.scenario import finish, people
from tests.chaos.traffic import WebTraffic
from tests.production import authority
from tests.production.installation import nginx
from tests.support.stack import Stack, free_port, wait_until

_SENDERS, _SECONDS, _PATIENCE = 40, 30, READ_SECONDS / 2
_HEAD = b"POST /contact HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"


def slow_senders(stack: Stack, *, seed: int, kills: int) -> Done:
    """Forty clients that send a byte a second: before nginx nobody notices; without it the site is back soon."""
    if shutil.which("nginx") is None:
        raise Skipped("nginx is not installed here")
    https = free_port()
    authority.make(stack.folder / "tls")
    with nginx(stack.folder, web_port=int(stack.web_url.rpartition(":")[2]), https_port=https):
        with WebTraffic(stack) as traffic, _slow(https, tls=True):
            people(stack, 50)
            stack.ring()
            worst = _worst_answer(f"https://localhost:{https}/contact", str(stack.folder / "tls" / "ca.pem"))
        traffic.check()
        assert traffic.failures == [], traffic.failures
        assert worst < _PATIENCE, f"an answer took {worst:.1f} s behind the proxy"
    back = _time_until_back(stack)
    done = f"{_SENDERS} slow senders for {_SECONDS} s: slowest page behind nginx {worst:.1f} s; without it the site is back "
    return f"{done}after {back:.0f} s", finish(stack)


def _worst_answer(url: str, authority_file: str) -> float:
    worst, until = 0.0, time.monotonic() + _SECONDS
    while time.monotonic() < until:
        started = time.monotonic()
        requests.get(url, verify=authority_file, timeout=20).raise_for_status()
        worst = max(worst, time.monotonic() - started)
        time.sleep(0.2)
    return worst


def _time_until_back(stack: Stack) -> float:
    """Hold all threads of the web process; return how long no page comes."""
    with _slow(int(stack.web_url.rpartition(":")[2]), tls=False):
        time.sleep(1)
        started = time.monotonic()
        wait_until(
            lambda: requests.get(f"{stack.web_url}/contact", timeout=5).ok,
            seconds=READ_SECONDS * 3,
            what="the site to be back",
        )
        return time.monotonic() - started


@contextmanager
def _slow(port: int, *, tls: bool) -> Iterator[None]:
    """Half of them send their headers byte by byte, half their body; those that are cut off do not come again."""
    over = threading.Event()
    threads = [
        threading.Thread(target=_send, args=(port, tls, number % 2 == 0, over)) for number in range(_SENDERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _send(port: int, tls: bool, in_head: bool, over: threading.Event) -> None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        sock = _wrap(plain) if tls else plain
        sock.sendall(_HEAD if in_head else _HEAD + b"Content-Length: 20000\r\n\r\n")
        while not over.wait(1):
            sock.sendall(b"X")


def _wrap(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname="localhost")
