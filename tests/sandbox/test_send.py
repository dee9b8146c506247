"""mail/send: statuses, bodies and headers of its answers."""

import gzip
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from crm.sandbox.api.validation import MAX_REQUEST_BYTES
from tests.sandbox.requests_data import HEADERS, letter

ANA = "ana@mail.example"


def errors(answer: Any) -> list[dict[str, Any]]:
    assert answer.mimetype == "application/json"
    return orjson.loads(answer.data)["errors"]


def test_a_good_request_is_202_with_an_id_and_no_body(client: FlaskClient) -> None:
    answer = client.post("/v3/mail/send", json=letter(ANA), headers=HEADERS)
    assert (answer.status_code, answer.data) == (202, b"")
    assert len(answer.headers["X-Message-Id"]) == 22
    assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(answer.headers.keys())
    kept = client.get(f"/sandbox/requests/{answer.headers['X-Message-Id']}")
    assert orjson.loads(kept.data) == letter(ANA)


def test_sandbox_mode_validates_and_keeps_nothing(client: FlaskClient) -> None:
    body = letter(ANA, mail_settings={"sandbox_mode": {"enable": True}})
    answer = client.post("/v3/mail/send", json=body, headers=HEADERS)
    assert (answer.status_code, answer.data) == (200, b"")
    assert "X-Message-Id" not in answer.headers
    assert client.get("/sandbox/status").json["requests"] == 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "authorization required"),
        (
            {"Authorization": "Bearer SG.other"},
            "The provided authorization grant is invalid, expired, or revoked",
        ),
        (
            {"Authorization": "SG.tests.key"},
            "The provided authorization grant is invalid, expired, or revoked",
        ),
        ({"Authorization": "Bearer ñ"}, "The provided authorization grant is invalid, expired, or revoked"),
    ],
)
def test_without_the_key_nothing_is_answered(
    client: FlaskClient, headers: dict[str, str], message: str
) -> None:
    for path in ("/v3/mail/send", "/v3/recipients/erasejob", "/v3/mail/batch"):
        answer = client.post(path, json=letter(ANA), headers=headers)
        assert answer.status_code == 401
        assert errors(answer) == [{"message": message, "field": None, "help": None}]


@pytest.mark.parametrize(
    ("raw", "changes", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400),
    ],
)
def test_an_unreadable_request_is_refused(
    client: FlaskClient, raw: bytes, changes: dict[str, str], status: int
) -> None:
    answer = client.post("/v3/mail/send", data=raw, headers={**HEADERS, **changes})
    assert answer.status_code == status
    assert errors(answer)[0]["field"] is None


def test_a_broken_limit_names_its_field(client: FlaskClient) -> None:
    answer = client.post("/v3/mail/send", json=letter(ANA, "nobody"), headers=HEADERS)
    assert answer.status_code == 400
    assert errors(answer) == [
        {
            "message": "Does not contain a valid address.",
            "field": "personalizations.1.to.0.email",
            "help": None,
        }
    ]
    assert client.get("/sandbox/status").json["requests"] == 0  # type: ignore[index]


def test_a_compressed_request_is_read(client: FlaskClient) -> None:
    raw = gzip.compress(orjson.dumps(letter(ANA)))
    answer = client.post("/v3/mail/send", data=raw, headers={**HEADERS, "Content-Encoding": "gzip"})
    assert answer.status_code == 202


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_over_30_megabytes_the_proxy_answers_in_html(client: FlaskClient, pack: Any) -> None:
    encoding = {"Content-Encoding": "gzip"} if pack is gzip.compress else {}
    raw = pack(b" " * (MAX_REQUEST_BYTES + 1))
    answer = client.post("/v3/mail/send", data=raw, headers={**HEADERS, **encoding})
    assert (answer.status_code, answer.mimetype) == (413, "text/html")
    assert b"<center>nginx</center>" in answer.data


def test_other_paths_and_methods_are_refused_in_json(client: FlaskClient) -> None:
    assert errors(client.get("/v3/mail/send", headers=HEADERS))[0]["message"] == "method not allowed"
    assert errors(client.get("/v3/nowhere", headers=HEADERS))[0]["message"] == "not found"


def test_the_key_can_be_checked_and_batches_made(client: FlaskClient) -> None:
    assert "mail.send" in client.get("/v3/scopes", headers=HEADERS).json["scopes"]  # type: ignore[index]
    made = client.post("/v3/mail/batch", headers=HEADERS)
    batch = made.json["batch_id"]  # type: ignore[index]
    assert made.status_code == 201
    assert client.get(f"/v3/mail/batch/{batch}", headers=HEADERS).json == {"batch_id": batch}
    assert client.get("/v3/mail/batch/unknown", headers=HEADERS).status_code == 400
