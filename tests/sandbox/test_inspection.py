"""What tests and tools can ask."""

import ast
from pathlib import Path

import orjson
from flask.testing import FlaskClient

import crm.sandbox
from tests.sandbox.requests_data import HEADERS, letter

HERE = Path(crm.sandbox.__file__).parent


def send(client: FlaskClient, *people: str) -> str:
    answer = client.post("/v3/mail/send", json=letter(*people), headers=HEADERS)
    assert answer.status_code == 202
    return str(answer.headers["X-Message-Id"])


def subjects(client: FlaskClient, query: str) -> tuple[list[str], str | None]:
    found = orjson.loads(client.get(f"/sandbox/messages{query}").data)
    return [one["to"][0] for one in found["messages"]], found["next"]


def test_a_message_tells_everything_about_itself(client: FlaskClient) -> None:
    request_id = send(client, "ana@m.example", "bo@m.example")
    (found,) = orjson.loads(client.get("/sandbox/messages?to=BO@m.example").data)["messages"]
    assert (found["id"], found["x_message_id"], found["answered"]) == (f"{request_id}.1", request_id, True)
    assert (found["subject"], found["text"]) == ("Hello Ana 1", "Dear Ana 1\nhttps://clinic.example/u/1")
    assert found["headers"]["List-Unsubscribe"] == "<https://clinic.example/u/1>"
    assert found["links"] == [{"url": "https://clinic.example/u/1", "text": "Stop"}]
    assert found["custom_args"] == {"msg": "m1"}
    assert client.get(f"/sandbox/messages/{request_id}.1").status_code == 200
    assert client.get(f"/sandbox/messages/{request_id}.2").status_code == 404
    assert client.get("/sandbox/requests/unknown").status_code == 404


def test_messages_come_in_pages_either_way_round(client: FlaskClient) -> None:
    send(client, "a@m.example", "b@m.example", "c@m.example")
    send(client, "d@m.example")
    send(client, "e@m.example", "a@m.example")
    newest = ["a@m.example", "e@m.example", "d@m.example", "c@m.example", "b@m.example", "a@m.example"]
    for order, wanted in (("newest", newest), ("oldest", newest[::-1])):
        for limit in (1, 2, 3, 6, 7):
            seen: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                page, cursor = subjects(client, f"?limit={limit}&order={order}&after={cursor}")
                assert 0 < len(page) <= limit
                seen += page
            assert seen == wanted
    first, cursor = subjects(client, "?to=a@m.example&limit=1")
    assert (first, subjects(client, f"?to=a@m.example&limit=1&after={cursor}")) == (
        ["a@m.example"],
        (["a@m.example"], None),
    )


def test_recipients_are_listed_with_the_chosen_custom_arg(client: FlaskClient) -> None:
    first = send(client, "a@m.example", "b@m.example")
    lines = [orjson.loads(line) for line in client.get("/sandbox/recipients").data.splitlines()]
    assert lines == [["m0", "a@m.example", first], ["m1", "b@m.example", first]]
    other = orjson.loads(client.get("/sandbox/recipients?arg=none").data.splitlines()[0])
    assert other == [None, "a@m.example", first]


def test_everything_can_be_forgotten(client: FlaskClient) -> None:
    send(client, "bounce@m.example")
    subjects(client, "?to=bounce@m.example")
    assert client.delete("/sandbox/messages").status_code == 204
    assert subjects(client, "?to=bounce@m.example") == ([], None)
    assert client.get("/sandbox/recipients").data == b""
    send(client, "ana@m.example")
    assert subjects(client, "?to=ana@m.example")[0] == ["ana@m.example"]
    client.put("/sandbox/faults", json={"faults": [{"kind": "drop_after"}]})
    assert client.post("/sandbox/reset").status_code == 204
    assert client.get("/sandbox/calls").json == {"calls": []}
    assert client.get("/sandbox/faults").json["faults"] == []  # type: ignore[index]


def test_calls_are_kept_without_addresses(client: FlaskClient) -> None:
    client.get("/v3/asm/suppressions/global/ana@m.example", headers=HEADERS)
    (call,) = client.get("/sandbox/calls").json["calls"]  # type: ignore[index]
    assert (call["method"], call["path"], call["status"]) == (
        "GET",
        "/v3/asm/suppressions/global/<email>",
        200,
    )


def test_another_sites_page_cannot_change_anything(client: FlaskClient) -> None:
    send(client, "ana@m.example")
    for site in ("cross-site", "same-site"):
        assert client.delete("/sandbox/messages", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert client.get("/sandbox/status").json["messages"] == 1  # type: ignore[index]


def test_the_sandbox_imports_nothing_else_of_the_project() -> None:
    imported = {
        name
        for path in HERE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _names(node)
        if name.split(".")[0] in ("crm", "jobs")
    }
    assert imported
    assert {name for name in imported if not name.startswith("crm.sandbox")} == set()


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
