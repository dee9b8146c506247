"""The server: connections kept, bodies drained, death survived."""

import http.client
import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail

from crm.sandbox import SandboxServer, SandboxSettings, run
from crm.sandbox.api.validation import MAX_REQUEST_BYTES
from tests.sandbox.conftest import Hook, wait_until
from tests.sandbox.requests_data import KEY, Wire, letter

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
from crm.sandbox import SandboxSettings, run
folder, port, hook = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
run(SandboxSettings(api_key="SG.tests.key", signing_key_path=folder / "key.pem", store_path=folder / "mail.db",
                    webhook_url=hook, event_delay=0, wave_gap=0, retry_first=0.05, retry_longest=0.2), port=port)
"""


def test_sendgrids_own_library_gets_its_answer(server: SandboxServer, hook: Hook) -> None:
    client = SendGridAPIClient(KEY, host=server.url)
    client.client.timeout = 10
    message = Mail("news@clinic.example", "ana@mail.example", "Hello", "Dear Ana", "<p>Dear Ana</p>")
    answer = client.send(message)
    assert (answer.status_code, answer.body) == (202, b"")
    assert hook.wait_for(2)[0]["sg_message_id"].startswith(answer.headers["X-Message-Id"] + ".")
    found = client.client.suppression.bounces.get()
    assert (found.status_code, orjson.loads(found.body)) == (200, [])


def test_a_connection_is_kept_through_answers_of_every_kind(server: SandboxServer) -> None:
    wire = Wire(server.url)
    wire.call("GET", "/sandbox/status")
    line = wire.connection.sock
    for method, path, document, status in (
        ("POST", "/v3/mail/send", letter("ana@mail.example"), 202),
        ("POST", "/v3/nowhere", letter("ana@mail.example"), 404),
        ("POST", "/v3/mail/send", b"{", 400),
        ("DELETE", "/sandbox/faults", None, 204),
        ("GET", "/sandbox/recipients", None, 200),
        ("HEAD", "/", None, 200),
        ("GET", "/", None, 200),
    ):
        assert wire.call(method, path, document)[0] == status
        assert wire.connection.sock is line
    wire.close()


def test_a_body_over_the_limit_is_answered_in_html_over_the_wire(server: SandboxServer) -> None:
    wire = Wire(server.url)
    status, headers, _raw = wire.call("POST", "/v3/mail/send", b" " * (MAX_REQUEST_BYTES + 1))
    assert (status, headers["Content-Type"].split(";")[0]) == (413, "text/html")
    assert wire.send(letter("ana@mail.example"))
    wire.close()


def test_a_body_of_unknown_length_is_refused(server: SandboxServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("POST", "/v3/mail/send", io.BytesIO(b"{}"), {"Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 411
    connection.close()


def test_a_taken_port_gives_one_sentence(server: SandboxServer, quiet: SandboxSettings) -> None:
    with pytest.raises(SystemExit, match=f"port {server.port} is in use"):
        run(quiet, port=server.port)


@pytest.mark.slow
def test_accepted_mail_and_its_events_survive_a_kill(tmp_path: Path, hook: Hook) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hook.status = 500
    answered: list[str] = []
    for death in range(3):
        process = _start(tmp_path, port, hook)
        wire = Wire(f"http://127.0.0.1:{port}")
        for number in range(20):
            answered.append(wire.send(letter(f"p{death}-{number}@mail.example")))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wire.close()
    hook.status = 204
    process = _start(tmp_path, port, hook)
    try:
        wire = Wire(f"http://127.0.0.1:{port}")
        lines = [orjson.loads(line) for line in wire.call("GET", "/sandbox/recipients")[2].splitlines()]
        assert [line[2] for line in lines] == answered
        assert [line[1] for line in lines] == [f"p{a}-{b}@mail.example" for a in range(3) for b in range(20)]
        wait_until(lambda: len({one["sg_event_id"] for one in hook.events}) == 120)
        wire.close()
    finally:
        process.terminate()
        assert process.wait(10) == 0


def _start(folder: Path, port: int, hook: Hook) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(port), hook.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_until(lambda: _listens(port), seconds=30)
    return process


def _listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
