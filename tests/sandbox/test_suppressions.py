"""The lists of addresses SendGrid will not write to, and erasure."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from crm.sandbox import SandboxServer
from tests.sandbox.conftest import Hook
from tests.sandbox.requests_data import HEADERS, Wire, letter

GLOBAL = "/v3/asm/suppressions/global"


@pytest.fixture
def wire(server: SandboxServer) -> Iterator[Wire]:
    wire = Wire(server.url)
    yield wire
    wire.close()


@pytest.mark.parametrize(
    ("first", "path", "reason"),
    [
        ("bounce@m.example", "/v3/suppression/bounces", "Bounced Address"),
        ("complain@m.example", "/v3/suppression/spam_reports", "Spam Reporting Address"),
        ("unsubscribe@m.example", GLOBAL, "Unsubscribed Address"),
    ],
)
def test_what_happened_once_drops_the_next_mail_until_lifted(
    wire: Wire, hook: Hook, first: str, path: str, reason: str
) -> None:
    wire.send(letter(first))
    seen = len(hook.wait_for(3 if first != "bounce@m.example" else 2))
    wire.send(letter(first))
    dropped = hook.wait_for(seen + 1)[-1]
    assert (dropped["event"], dropped["reason"]) == ("dropped", reason)
    assert wire.call("DELETE", f"{path}/{first}")[0] == 204
    wire.send(letter(first))
    assert hook.wait_for(seen + 2)[seen + 1]["event"] == "processed"


def test_a_block_is_listed_but_drops_nothing(wire: Wire, hook: Hook) -> None:
    for _ in range(2):
        wire.send(letter("block@m.example"))
    assert [one["event"] for one in hook.wait_for(4)].count("bounce") == 2
    (block,) = wire.json("GET", "/v3/suppression/blocks")
    assert block["email"] == "block@m.example"
    assert block["reason"].startswith("550")


def test_a_suppression_added_by_us_drops_and_can_be_bypassed(wire: Wire, hook: Hook) -> None:
    status, _, raw = wire.call("POST", GLOBAL, {"recipient_emails": ["Ana@m.example"]})
    assert (status, orjson.loads(raw)) == (201, {"recipient_emails": ["Ana@m.example"]})
    assert wire.json("GET", f"{GLOBAL}/ana@m.example") == {"recipient_email": "ana@m.example"}
    assert wire.json("GET", f"{GLOBAL}/bo@m.example") == {}
    wire.send(letter("ANA@m.example", "bo@m.example"))
    assert sorted(one["event"] for one in hook.wait_for(3)) == ["delivered", "dropped", "processed"]
    wire.send(letter("ana@m.example", mail_settings={"bypass_list_management": {"enable": True}}))
    assert [one["event"] for one in hook.wait_for(5)[3:]] == ["processed", "delivered"]


def _fill(client: FlaskClient) -> None:
    body = {"recipient_emails": [f"p{number}@m.example" for number in range(5)] + ["x_y@m.example"]}
    assert client.post(GLOBAL, json=body, headers=HEADERS).status_code == 201


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 6),
        ("?limit=2", 2),
        ("?limit=2&offset=5", 1),
        ("?email=P", 5),
        ("?email=x_", 1),
        ("?email=%25_y", 1),
        ("?email=_", 0),
        ("?end_time=1", 0),
    ],
)
def test_a_list_is_read_in_pieces(client: FlaskClient, query: str, count: int) -> None:
    _fill(client)
    found = client.get(f"/v3/suppression/unsubscribes{query}", headers=HEADERS)
    assert len(orjson.loads(found.data)) == count


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"emails": ["a@m.example"]}, 204),
        ({"delete_all": True}, 204),
        ({}, 400),
        ({"delete_all": True, "emails": ["a@m.example"]}, 400),
        ({"emails": ["nobody"]}, 400),
    ],
)
def test_a_list_is_emptied_one_way_or_the_other(client: FlaskClient, body: Any, status: int) -> None:
    assert client.delete("/v3/suppression/bounces", json=body, headers=HEADERS).status_code == status


def test_who_is_not_listed_cannot_be_taken_off(client: FlaskClient) -> None:
    assert client.delete("/v3/suppression/bounces/a@m.example", headers=HEADERS).status_code == 404
    assert client.post(GLOBAL, json={"recipient_emails": "a@m.example"}, headers=HEADERS).status_code == 400


def test_erasing_takes_the_person_out_and_leaves_the_custom_args(wire: Wire, hook: Hook) -> None:
    request_id = wire.send(letter("ana@m.example", "bo@m.example"))
    hook.wait_for(4)
    status, _, raw = wire.call("POST", "/v3/recipients/erasejob", {"email_addresses": ["ANA@m.example"]})
    assert status == 202
    assert orjson.loads(raw)["job_id"]
    kept = wire.call("GET", f"/sandbox/requests/{request_id}")[2]
    assert b"ana@" not in kept
    assert b"Ana 0" not in kept
    assert wire.json("GET", "/sandbox/messages?to=ana@m.example")["messages"] == []
    assert wire.json("GET", f"/sandbox/messages/{request_id}.0")["custom_args"] == {"msg": "m0"}
    assert len(wire.json("GET", f"/sandbox/messages/{request_id}.1")["events"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"email_addresses": []},
        {"email_addresses": ["nobody"]},
        {"email_addresses": [f"p{number}@m.example" for number in range(5001)]},
        {"email_addresses": ["a@" + "m" * 50 + ".example"] * 4999},
        {},
    ],
)
def test_an_erasure_out_of_bounds_is_refused(client: FlaskClient, body: Any) -> None:
    assert client.post("/v3/recipients/erasejob", json=body, headers=HEADERS).status_code == 400
