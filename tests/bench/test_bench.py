"""The measuring tools measure: what counts wrong would flatter or slander everything else."""

import base64
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization

from tests.bench import __main__ as main
from tests.bench import imports, limit, load, machine, people, report, rows, system, views  # noqa: F401 - the figures
from tests.bench.servers import ROOT, Statements
from tests.bench.sink import Sink

PEOPLE = [(1, "a@example.test", "Ada", "Aden"), (2, "b@example.test", "Bo", "Bonn")]


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    started = Sink(tmp_path_factory.mktemp("sink"), cpus=os.sched_getaffinity(0))
    yield started
    started.stop()


def post(sink: Sink, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", sink.plain_port)
    connection.request("POST", "/v3/mail/send", body=body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_sink_counts_each_recipient_once(sink: Sink) -> None:
    sink.reset()
    assert post(sink, limit.payload(PEOPLE)) == 202
    assert sink.expect(2)["messages"] == 2
    assert sink.calls()[0][1:] == [2, "a@example.test", "1"]


@pytest.mark.parametrize(
    "bodies",
    [
        pytest.param([limit.payload(PEOPLE), limit.payload(PEOPLE)], id="the same call twice"),
        pytest.param([limit.payload([*PEOPLE[:1], *PEOPLE[:1]])], id="one person twice in a call"),
        pytest.param([limit.payload(PEOPLE[:1])], id="one too few"),
        pytest.param([limit.payload(PEOPLE), b"{}"], id="not a mail"),
    ],
)
def test_the_sink_refuses_a_wrong_count(sink: Sink, bodies: list[bytes]) -> None:
    sink.reset()
    for body in bodies:
        post(sink, body)
    with pytest.raises(AssertionError):
        sink.expect(2)


def test_the_sink_answers_after_its_latency(sink: Sink) -> None:
    sink.reset(latency=0.05)
    began = time.monotonic()
    post(sink, limit.payload(PEOPLE))
    assert 0.05 <= time.monotonic() - began < 1


def test_cpu_of_a_tree_includes_children_that_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(1, flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        assert 0.28 <= machine.cpu_seconds([process.pid]) < 1
        process.communicate(b"\n")


def test_peak_memory_sees_what_is_freed_again() -> None:
    with machine.PeakMemory([os.getpid()], every=0.01) as memory:
        before = machine.pss_bytes([os.getpid()])
        block = bytearray(os.urandom(1) * (64 * machine.MIB))
        time.sleep(0.1)
        del block
    assert memory.peak - before >= 60 * machine.MIB


def test_statements_are_read_from_the_log() -> None:
    log = (
        "crm|web|LOG:  statement: BEGIN\n"
        "crm|web|LOG:  execute <unnamed>: SELECT 1,\n\t2\n"
        "crm|web|LOG:  execute _pg3_0: INSERT INTO message\n"
        "other|web|LOG:  statement: SELECT 3\n"
        "crm|web|DETAIL:  Parameters: $1 = '...'\n"
        "crm|web|LOG:  statement: COMMIT\n"
    )
    seen = Statements()
    seen.read(log, database="crm")
    assert (seen.total, seen.work) == (4, 2)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentiles_are_nearest_rank(share: float, expected: float) -> None:
    assert load.percentile([float(n) for n in range(1, 101)], share) == expected


def test_requests_survive_their_file(tmp_path: Path) -> None:
    requests = [load.request("/"), load.request("/x", b"\0" * 1000, headers={"A": "b"})]
    load.write_requests(tmp_path / "requests", requests)
    assert load.read_requests(tmp_path / "requests") == requests


def test_a_verdict_is_the_median_of_ratios_within_runs() -> None:
    row = replace(rows.ROWS[0], at_least=0.4)
    runs = [
        {"broadcast_100k": {"rate": 45}, "limit_2": {"rate": 100}},
        {"broadcast_100k": {"rate": 90}, "limit_2": {"rate": 300}},
        {"broadcast_100k": {"rate": 41}, "limit_2": {"rate": 100}},
    ]
    judged = report.judge(runs, row)
    assert judged["verdict"] == "reached"
    assert judged["ratio"].middle == pytest.approx(0.41)
    assert report.judge(runs[1:2], row)["verdict"] == "missed"
    assert report.judge([{"broadcast_100k": {"error": "x"}}], row)["verdict"] == "failed"
    assert report.judge([{}], row)["verdict"] == "not measured"


def test_every_row_has_one_bound_and_names_values() -> None:
    for row in rows.ROWS:
        assert (row.at_least is None) != (row.at_most is None), row.name
        assert all("." in name for name in (row.value, row.against or "a.b", *row.also)), row.name
    assert len({row.name for row in rows.ROWS}) == len(rows.ROWS)


def test_signed_posts_verify() -> None:
    signer = views.Signer()
    head, _, body = signer.post("/", views.make_events([("1", "a@example.test")])).partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert int(headers["Content-Length"]) == len(body)
    assert orjson.loads(body)[0]["pp_msg"] == "1"
    key: Any = serialization.load_der_public_key(base64.b64decode(signer.public))
    signature = base64.b64decode(headers[views.SIGNATURE])
    key.verify(signature, headers[views.TIMESTAMP].encode() + body, views.SHA256)


def test_applying_events_twice_changes_nothing(servers: tuple[str, str]) -> None:
    events = orjson.dumps(views.make_events([("1", "a@example.test")], kinds=("bounce",))).decode()
    with psycopg.connect(servers[0]) as connection:
        connection.execute("CREATE SCHEMA bench; SET LOCAL search_path = bench")
        connection.execute(views.APPLY_SCHEMA)
        connection.execute("INSERT INTO message (id) VALUES (1)")
        for _ in range(2):
            connection.execute(views.APPLY, (events,))
        found = connection.execute("SELECT state, (SELECT count(*) FROM event) FROM message").fetchone()
        connection.rollback()
    assert found == ("bounce", 1)


def test_a_quick_look_leaves_out_what_takes_long() -> None:
    every, quick, named = (
        main.choose("")[1],
        main.choose("", quick=True)[1],
        main.choose("pages", quick=True)[1],
    )
    assert {"pages", "imports"} == set(every) - set(quick)
    assert named == ["pages"]
    kept, figures = main.choose("", without="naive")
    assert "naive" not in figures
    assert "broadcast_naive" not in {row.name for row in kept}


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder that the user of PostgreSQL may enter: pytest shuts its own to all others at each start."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_a_measurement_from_end_to_end(server_folder: Path) -> None:
    """The real command with servers of its own: a line for each figure, a table, a verdict."""
    command = [sys.executable, "-m", "tests.bench", "--quick", "--share", "0.004", "--cores", "0"]
    done = subprocess.run(
        [*command, "--folder", str(server_folder), "--rows", "apply,idle_statements"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1_800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "idle tick" in done.stdout
    (lines,) = (path.read_text().splitlines() for path in server_folder.glob("*.jsonl"))
    kept = [orjson.loads(line) for line in lines]
    assert [line["kind"] for line in kept] == ["machine", "figure", "figure", "row"]
    assert kept[1]["rate"] > 0
    assert kept[-1]["verdict"] == "reached"
