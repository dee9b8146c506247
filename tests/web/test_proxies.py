"""Trusted proxies: addresses of any shape, no forwarded host, and uploads refused before they are read."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.web.proxies import UNREADABLE, TrustedProxies, address_of
from crm.web.server import READ_SECONDS, Worker


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7:4711 ", "203.0.113.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ('"[2001:db8::7]:4711"', "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("unknown", UNREADABLE),
        ("_hidden", UNREADABLE),
        ("", UNREADABLE),
        ("[", UNREADABLE),
    ],
)
def test_shapes_of_addresses(text, address):
    assert address_of(text) == address


@given(st.text(max_size=60))
def test_no_address_fails(text):
    assert address_of(text)


def seen(hops: int = 1, **environ: str) -> dict[str, str]:
    found = {}
    app = TrustedProxies(
        lambda given_, _: found.update(given_) or [], hops=hops, public_url="https://crm.clinic.test"
    )
    app({"REMOTE_ADDR": "10.0.0.1", "HTTP_HOST": "evil.test", "wsgi.url_scheme": "http", **environ}, None)
    return found


def test_the_host_is_that_of_the_public_address():
    found = seen(HTTP_X_FORWARDED_HOST="evil.test", HTTP_X_FORWARDED_PROTO="http")
    assert (found["HTTP_HOST"], found["SERVER_PORT"], found["wsgi.url_scheme"]) == (
        "crm.clinic.test",
        "443",
        "https",
    )


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "198.51.100.1", "10.0.0.1"),
        (1, "198.51.100.1, 203.0.113.7:99", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (1, "what ever\x00", UNREADABLE),
    ],
)
def test_as_many_proxies_as_are_trusted(hops, forwarded, address):
    assert seen(hops, HTTP_X_FORWARDED_FOR=forwarded)["REMOTE_ADDR"] == address


class _Unread:
    """A body that nobody may read."""

    def read(self, *_):
        raise AssertionError("The body was read.")

    readline = readinto = __iter__ = read


@pytest.mark.parametrize("path", ["/console/import", "/refer/upload", "/refer/new"])
def test_uploads_of_strangers_are_not_read(client, path):
    body = {
        "CONTENT_LENGTH": "50000000",
        "CONTENT_TYPE": "multipart/form-data; boundary=x",
        "wsgi.input": _Unread(),
    }
    answer = client.open(path, method="POST", environ_overrides=body)
    assert answer.status_code in (302, 303)


class _Connection:
    def __init__(self, sock):
        self.sock = sock


def test_a_request_that_does_not_arrive_is_ended():
    ours, theirs = socket.socketpair()
    worker = Worker.__new__(Worker)
    worker.pending_conns = []
    worker._until = {_Connection(ours): READ_SECONDS - 1e9}
    theirs.send(b"GET / HT")
    worker.murder_pending()
    assert (ours.recv(100), ours.recv(100)) == (b"GET / HT", b"")  # what came, then the end
    ours.send(b"HTTP/1.1 408")  # an answer still goes out
    assert theirs.recv(100)
    ours.close()
    theirs.close()
