"""The adapter over real HTTP against the sandbox: bytes, limits, and every answer classified."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sendgrid import SendGridAPIClient

from crm.mailer import Envelope, Fate, PayloadError, Recipient
from crm.mailer.sendgrid import Raw, SendGridMailer, payload, read_answer
from crm.sandbox.server import SandboxServer
from crm.sandbox.settings import SandboxSettings

SPEC = Path(__file__).resolve().parents[3] / "shared" / "sendgrid" / "sendgrid_mail_v3.json"
ENVELOPE = Envelope(
    subject="Something to read",
    html="<p>Hello [%h:first_name%]</p>",
    text="Hello [%t:first_name%]",
    language="en",
    from_email="news@clinic.example",
    from_name="Pacific Wellness Group",
    reply_to="hello@clinic.example",
    headers={"List-Id": "<news.clinic.example>", "Auto-Submitted": "auto-generated"},
    list_unsubscribe=True,
)


def people(count: int) -> list[Recipient]:
    return [
        Recipient(
            number,
            f"ana{number}@patients.example",
            {"[%h:first_name%]": "Ana"},
            f"https://clinic.example/u/{number}",
        )
        for number in range(1, count + 1)
    ]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[SandboxServer]:
    folder = tmp_path_factory.mktemp("sandbox")
    settings = SandboxSettings(
        api_key="SG.right", signing_key_path=folder / "key.pem", store_path=folder / "store", events=False
    )
    with SandboxServer(settings) as server:
        yield server


@pytest.fixture
def mailer(sandbox) -> Iterator[SendGridMailer]:
    requests.post(f"{sandbox.url}/sandbox/reset", timeout=5)
    requests.delete(f"{sandbox.url}/sandbox/faults", timeout=5)
    mailer = SendGridMailer(api_key="SG.right", url=sandbox.url, timeout=2)
    yield mailer
    mailer.kept.close()


def fault(sandbox: SandboxServer, **switch) -> None:
    answer = requests.put(f"{sandbox.url}/sandbox/faults", json={"faults": [switch]}, timeout=5)
    assert answer.status_code < 300, answer.text


def arrived(sandbox: SandboxServer) -> list[str]:
    lines = requests.get(f"{sandbox.url}/sandbox/recipients", timeout=5).text.splitlines()
    return [json.loads(line)[1] for line in lines]


def test_a_batch_arrives_and_the_connection_is_kept(mailer, sandbox):
    outcome = mailer.prepare(ENVELOPE, people(1_000)).post()
    assert outcome.fate is Fate.ACCEPTED
    assert outcome.provider_id
    first = mailer.kept.connection.sock
    assert mailer.prepare(ENVELOPE, people(2)).post().fate is Fate.ACCEPTED
    assert mailer.kept.connection.sock is first
    assert len(arrived(sandbox)) == 1_002


def test_only_what_the_provider_needs():
    body = payload(ENVELOPE, people(2))
    assert set(body) == {
        "personalizations",
        "from",
        "reply_to",
        "subject",
        "content",
        "tracking_settings",
        "headers",
    }
    assert [set(one) for one in body["personalizations"]] == [
        {"to", "substitutions", "custom_args", "headers"}
    ] * 2
    assert body["personalizations"][0]["custom_args"] == {"pp_msg": "1"}
    assert body["personalizations"][0]["to"] == [{"email": "ana1@patients.example"}]
    assert body["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert body["personalizations"][1]["headers"] == {"List-Unsubscribe": "<https://clinic.example/u/2>"}
    assert {key: value["enable"] for key, value in body["tracking_settings"].items()} == {
        "click_tracking": False, "open_tracking": False, "subscription_tracking": False, "ganalytics": False,
    }  # fmt: skip


def test_the_bytes_mean_what_the_library_would_send(mailer, sandbox):
    """The same body through the library's own transport and through ours: equal JSON, equal telling headers."""
    seen = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                raw = b""
                while b"\r\n\r\n" not in raw:
                    raw += connection.recv(65_536)
                head, _, body = raw.partition(b"\r\n\r\n")
                headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
                headers = {name.lower(): value for name, value in headers.items()}
                while len(body) < int(headers["content-length"]):
                    body += connection.recv(65_536)
                seen.append((head.split(b"\r\n")[0], headers, json.loads(body)))
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nX-Message-Id: x\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    SendGridAPIClient("SG.right", host=url).client.mail.send.post(request_body=payload(ENVELOPE, people(3)))
    ours = SendGridMailer(api_key="SG.right", url=url)
    ours.prepare(ENVELOPE, people(3)).post()
    thread.join()
    ours.kept.close()
    listener.close()
    (line_a, headers_a, body_a), (line_b, headers_b, body_b) = seen
    assert line_a == line_b == b"POST /v3/mail/send HTTP/1.1"
    assert body_a == body_b
    for name in ("authorization", "content-type", "accept", "user-agent", "host"):
        assert headers_a[name] == headers_b[name]


@pytest.mark.skipif(not SPEC.exists(), reason="the provider's OpenAPI file is not here")
def test_the_payload_uses_only_documented_fields():
    spec = json.loads(SPEC.read_text())

    def resolve(schema):
        while "$ref" in schema:
            node = spec
            for part in schema["$ref"].removeprefix("#/").split("/"):
                node = node[part]
            schema = node
        return schema

    post = spec["paths"]["/v3/mail/send"]["post"]
    schema = resolve(resolve(post["requestBody"])["content"]["application/json"]["schema"])
    body = payload(ENVELOPE, people(2))
    assert set(body) <= set(schema["properties"])
    assert set(schema["required"]) <= set(body)
    one = resolve(resolve(schema["properties"]["personalizations"])["items"])
    assert set(body["personalizations"][0]) <= set(one["properties"])


@pytest.mark.parametrize(
    ("change", "recipients", "words"),
    [
        ({}, 0, "no recipients"),
        ({}, 1_001, "at most 1,000"),
        ({"from_name": "Ananth, Kartik MD"}, 1, "comma"),
        ({"from_name": "Clínica"}, 1, "ASCII"),
        ({"from_email": "clínica@clinic.example"}, 1, "ASCII"),
        ({"subject": "a\r\nBcc: x@y.example"}, 1, "line break"),
        ({"headers": {"X-A": "a\nb"}}, 1, "line break"),
        ({"headers": {"DKIM-Signature": "x"}}, 1, "provider's own"),
    ],
)
def test_a_call_that_would_be_refused_is_not_made(change, recipients, words):
    envelope = Envelope(**{name: getattr(ENVELOPE, name) for name in Envelope.__dataclass_fields__} | change)
    with pytest.raises(PayloadError, match=words):
        payload(envelope, people(recipients))


@pytest.mark.parametrize(
    ("recipients", "words"),
    [
        (people(1) * 2, "twice"),
        ([Recipient(1, "a@b.example", {"x": "é" * 6_000}, "https://clinic.example/u/1")], "10,000 bytes"),
        ([Recipient(1, "a@b.example", {}, None)], "unsubscribe"),
    ],
)
def test_recipients_that_would_be_refused(recipients, words):
    with pytest.raises(PayloadError, match=words):
        payload(ENVELOPE, recipients)


HTML = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
NAMED = b'{"errors":[{"message":"Does not contain a valid address.","field":"personalizations.7.to.0.email","help":null}]}'


@pytest.mark.parametrize(
    ("status", "headers", "body", "fate"),
    [
        (202, {"X-Message-Id": "abc"}, b"", Fate.ACCEPTED),
        (200, {}, b"", Fate.REFUSED),
        (400, {}, b'{"errors":[{"message":"bad","field":"null","help":null}]}', Fate.REFUSED),
        (400, {}, NAMED, Fate.REFUSED_SOME),
        (401, {}, b'{"errors":[{"message":"authorization required","field":null}]}', Fate.UNAUTHORISED),
        (403, {}, b"{}", Fate.UNAUTHORISED),
        (404, {}, b"not found", Fate.REFUSED),
        (413, {}, HTML, Fate.REFUSED),
        (429, {"X-RateLimit-Reset": "1600112502"}, b'{"errors":[{"field":null,"message":"too many requests"}]}', Fate.THROTTLED),
        (429, {"X-RateLimit-Reset": "soon"}, b"", Fate.THROTTLED),
        (500, {}, HTML, Fate.TRY_AGAIN),
        (502, {}, HTML, Fate.TRY_AGAIN),
        (503, {}, b"[]", Fate.TRY_AGAIN),
        (504, {}, b"", Fate.TRY_AGAIN),
    ],
)  # fmt: skip
def test_every_answer(status, headers, body, fate):
    outcome = read_answer(status, headers, body)
    assert outcome.fate is fate
    assert outcome.refused == ((7,) if fate is Fate.REFUSED_SOME else ())


@pytest.mark.parametrize(
    ("switch", "fate", "count"),
    [
        ({"kind": "status", "status": 503, "times": 1}, Fate.TRY_AGAIN, 0),
        ({"kind": "status", "status": 401, "times": 1}, Fate.UNAUTHORISED, 0),
        ({"kind": "drop_after", "times": 1}, Fate.UNKNOWN, 2),
    ],
)
def test_faults_over_real_http(mailer, sandbox, switch, fate, count):
    fault(sandbox, **switch)
    assert mailer.prepare(ENVELOPE, people(2)).post().fate is fate
    assert len(arrived(sandbox)) == count
    assert mailer.prepare(ENVELOPE, people(2)).post().fate is Fate.ACCEPTED


def test_a_silent_provider_frees_us_soon(mailer, sandbox):
    mailer.kept.timeout = 0.5
    mailer.library.client.timeout = 0.5
    fault(sandbox, kind="delay", seconds=3, times=1)
    assert mailer.prepare(ENVELOPE, people(1)).post().fate is Fate.UNKNOWN


def test_nobody_home_is_surely_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    mailer = SendGridMailer(api_key="SG.right", url=f"http://127.0.0.1:{port}")
    assert mailer.prepare(ENVELOPE, people(1)).post().fate is Fate.TRY_AGAIN


def test_the_log_never_holds_key_address_or_body(mailer, app, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("python_http_client").setLevel(logging.WARNING)
    mailer.prepare(ENVELOPE, people(1)).post()
    assert not {"SG.", "patients.example", "first_name"} & {
        word for word in ("SG.", "patients.example", "first_name") if word in caplog.text
    }


def test_a_body_prints_as_its_size():
    body = Raw(b'{"email": "person1@patients.example"}')
    assert f"{body} {body!r} {body!s}" == " ".join(["<37 bytes>"] * 3)
    assert body.encode("utf-8") == b'{"email": "person1@patients.example"}'
