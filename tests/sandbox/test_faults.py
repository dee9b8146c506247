"""What can be made to go wrong, over real connections."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm.sandbox import SandboxServer, SandboxSettings
from crm.sandbox.faults import BadFault, Fault, parse
from tests.sandbox.conftest import wait_until
from tests.sandbox.requests_data import KEY, Wire, letter, person

ROOT = Path(__file__).resolve().parents[2]
SEND = "/v3/mail/send"


@pytest.fixture
def wire(quiet: SandboxSettings) -> Iterator[Wire]:
    with SandboxServer(quiet) as server:
        wire = Wire(server.url)
        yield wire
        wire.close()


def set_faults(wire: Wire, *faults: dict[str, Any]) -> None:
    assert wire.call("PUT", "/sandbox/faults", {"faults": faults})[0] == 200


def statuses(wire: Wire, count: int) -> list[int]:
    return [wire.call("POST", SEND, letter("ana@m.example"))[0] for _ in range(count)]


def accepted(wire: Wire) -> int:
    return int(wire.json("GET", "/sandbox/status")["requests"])


@pytest.mark.parametrize("status", [401, 403, 500, 502, 503])
@pytest.mark.parametrize("body", ["json", "html"])
def test_a_status_is_given_as_often_as_asked(wire: Wire, status: int, body: str) -> None:
    set_faults(wire, {"kind": "status", "status": status, "body": body, "times": 2})
    got, headers, raw = wire.call("POST", SEND, letter("ana@m.example"))
    assert got == status
    assert headers["Content-Type"].startswith("application/json" if body == "json" else "text/html")
    assert ("errors" in orjson.loads(raw)) if body == "json" else raw.startswith(b"<html>")
    assert statuses(wire, 2) == [status, 202]
    assert accepted(wire) == 1


def test_too_many_requests_say_when_to_come_back(wire: Wire) -> None:
    set_faults(wire, {"kind": "rate_limit", "reset_in": 5, "times": 1})
    status, headers, raw = wire.call("POST", SEND, letter("ana@m.example"))
    assert status == 429
    assert orjson.loads(raw)["errors"][0] == {"message": "too many requests", "field": None, "help": None}
    assert headers["X-RateLimit-Remaining"] == "0"
    assert 4 <= int(headers["X-RateLimit-Reset"]) - time.time() <= 6.1
    assert statuses(wire, 1) == [202]


def test_a_late_answer_is_late_and_then_as_usual(wire: Wire) -> None:
    set_faults(
        wire, {"kind": "delay", "seconds": 0.2, "times": 1}, {"kind": "status", "status": 500, "times": 1}
    )
    started = time.monotonic()
    assert statuses(wire, 1) == [500]
    assert time.monotonic() - started >= 0.2
    assert statuses(wire, 1) == [202]


def test_mail_is_accepted_if_the_client_disconnects_early(wire: Wire) -> None:
    set_faults(wire, {"kind": "delay", "seconds": 0.3, "times": 1})
    impatient = Wire(f"http://127.0.0.1:{wire.connection.port}", timeout=0.05)
    with pytest.raises(TimeoutError):
        impatient.call("POST", SEND, letter("ana@m.example"))
    impatient.close()
    wait_until(lambda: accepted(wire) == 1)


@pytest.mark.parametrize(("kind", "kept"), [("drop_before", 0), ("drop_after", 1)])
def test_a_cut_connection_gives_no_answer(wire: Wire, kind: str, kept: int) -> None:
    assert statuses(wire, 1) == [202]  # so that the connection is a kept one
    set_faults(wire, {"kind": kind, "times": 1})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        wire.call("POST", SEND, letter("bo@m.example"))
    wire.close()
    assert accepted(wire) == 1 + kept
    found = wire.json("GET", "/sandbox/messages?to=bo@m.example")["messages"]
    assert [one["answered"] for one in found] == [False] * kept
    assert wire.json("GET", "/sandbox/calls?limit=1")["calls"][0]["status"] == 0


@pytest.mark.parametrize(
    ("fault", "refused"),
    [
        ({"personalization": 1}, ["personalizations.1.to.0.email"]),
        ({"match": "a@"}, ["personalizations.0.to.0.email", "personalizations.2.to.0.email"]),
        ({"personalization": 9}, []),
    ],
)
def test_a_part_of_a_batch_is_refused_by_name(wire: Wire, fault: dict[str, Any], refused: list[str]) -> None:
    set_faults(wire, {"kind": "refuse", **fault})
    status, _, raw = wire.call("POST", SEND, letter("ana@m.example", "bo@m.example", "cara@m.example"))
    assert status == (400 if refused else 202)
    assert [one["field"] for one in orjson.loads(raw or b'{"errors":[]}')["errors"]] == refused
    assert accepted(wire) == (0 if refused else 1)


def test_chance_is_the_same_on_every_run(wire: Wire) -> None:
    fault = {"kind": "status", "status": 503, "probability": 0.5, "seed": 7}
    runs = []
    for _ in range(2):
        set_faults(wire, fault)
        runs.append(statuses(wire, 30))
    assert runs[0] == runs[1]
    assert 5 < runs[0].count(503) < 25
    assert wire.json("GET", "/sandbox/faults")["faults"][0]["hits"] == runs[0].count(503)


def test_a_fault_may_reach_every_endpoint(wire: Wire) -> None:
    set_faults(wire, {"kind": "status", "status": 503})
    assert wire.call("GET", "/v3/scopes")[0] == 200
    set_faults(wire, {"kind": "status", "status": 503, "where": "all"})
    assert wire.call("GET", "/v3/scopes")[0] == 503
    assert wire.call("GET", "/sandbox/faults")[0] == 200


def test_what_is_read_back_can_be_set_again(wire: Wire) -> None:
    set_faults(wire, {"kind": "delay", "seconds": 1, "times": 3}, {"kind": "drop_after", "probability": 0.1})
    read = wire.json("GET", "/sandbox/faults")
    assert wire.json("PUT", "/sandbox/faults", {**read, "events": {"hold": True}})["events"]["hold"] is True
    assert [one["kind"] for one in wire.json("GET", "/sandbox/faults")["faults"]] == ["delay", "drop_after"]
    assert wire.call("PUT", "/sandbox/faults", b"{")[0] == 422


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"fault": []},
        {"faults": {}},
        {"faults": [1]},
        {"faults": [{"kind": "fire"}]},
        {"faults": [{"kind": "delay", "minutes": 1}]},
        {"faults": [{"kind": "delay", "seconds": "1"}]},
        {"faults": [{"kind": "delay", "seconds": 601}]},
        {"faults": [{"kind": "delay", "times": 0}]},
        {"faults": [{"kind": "delay", "times": True}]},
        {"faults": [{"kind": "status", "status": 200}]},
        {"faults": [{"kind": "status", "body": "xml"}]},
        {"faults": [{"kind": "refuse", "match": 1}]},
        {"faults": [{"kind": "delay", "where": "here"}]},
        {"events": []},
        {"events": {"lose": True}},
        {"events": {"hold": 1}},
    ],
)
def test_what_describes_no_fault_is_refused(document: object) -> None:
    with pytest.raises(BadFault):
        parse(document)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(kind="delay", seconds=2), "answer 2 s late"),
        (
            Fault(kind="status", status=502, body="html", where="all"),
            "refuse with 502 (HTML body), on every endpoint",
        ),
        (
            Fault(kind="refuse", match="ana", probability=0.25),
            "400 for addresses with “ana”, 25% of the time",
        ),
        (Fault(kind="refuse", personalization=3), "400 for personalization 3"),
    ],
)
def test_a_fault_explains_itself(fault: Fault, words: str) -> None:
    assert fault.in_words() == words


@pytest.mark.slow
def test_connections_are_cut_under_gunicorn_too(tmp_path: Path) -> None:
    (tmp_path / "standin.py").write_text(
        "from pathlib import Path\n"
        "from crm.sandbox import SandboxSettings, create_sandbox\n"
        f"app = create_sandbox(SandboxSettings(api_key={KEY!r}, signing_key_path=Path('key.pem'),\n"
        "                                      store_path=Path('mail.db')))\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "4", "--workers", "2"]
    process = subprocess.Popen(
        [*command, "-b", f"127.0.0.1:{port}", "--log-level", "critical", "standin:app"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(lambda: _listens(port), seconds=30)
        wire = Wire(f"http://127.0.0.1:{port}")
        assert statuses(wire, 2) == [202, 202]
        for kind, kept in (("drop_before", 2), ("drop_after", 3)):
            set_faults(wire, {"kind": kind, "times": 1})
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                wire.send(letter(personalizations=[person("bo@m.example")]))
            wire.close()
            assert accepted(wire) == kept
        wire.close()
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
