"""Held against SendGrid's official OpenAPI files, where they are at hand."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from flask.testing import FlaskClient

from tests.sandbox.requests_data import HEADERS, letter

FILES = Path(__file__).resolve().parents[3] / "shared" / "sendgrid"
pytestmark = pytest.mark.skipif(
    not FILES.is_dir(), reason="SendGrid's OpenAPI files are not beside the project"
)


def document(name: str) -> Any:
    return orjson.loads((FILES / f"sendgrid_{name}_v3.json").read_bytes())


def resolved(node: Any, whole: Any) -> Any:
    """Put every reference in its place, and say `nullable` the way JSON Schema does."""
    if isinstance(node, list):
        return [resolved(one, whole) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = whole
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/")]
        return resolved(target, whole)
    found = {key: resolved(value, whole) for key, value in node.items() if key not in ("example", "examples")}
    if found.pop("nullable", False):
        found["type"] = [found["type"], "null"]
    return found


def check(name: str, method: str, path: str, answer: Any) -> None:
    """Check status, headers and body of an answer against what the file says of this operation."""
    whole = document(name)
    operation = whole["paths"][path][method]
    assert str(answer.status_code) in operation["responses"]
    described = resolved(operation["responses"][str(answer.status_code)], whole)
    if "content" not in described:
        assert answer.data == b""
        return
    body = orjson.loads(answer.data)
    for error in body["errors"] if isinstance(body, dict) and "errors" in body else ():
        error.pop("help")  # the file says object; the service says null where there is no help
    jsonschema_rs.validator_for(described["content"]["application/json"]["schema"]).validate(body)


def examples() -> list[Any]:
    if not FILES.is_dir():
        return []
    found = document("mail")["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"][
        "examples"
    ]
    return [pytest.param(one["value"], id=name) for name, one in found.items()]


@pytest.mark.parametrize("body", examples())
def test_the_official_examples_are_accepted(client: FlaskClient, body: Any) -> None:
    answer = client.post("/v3/mail/send", json=body, headers=HEADERS)
    assert answer.status_code == 202, answer.data
    check("mail", "post", "/v3/mail/send", answer)


def test_our_own_letters_are_within_the_official_schema() -> None:
    whole = document("mail")
    body = resolved(whole["components"]["requestBodies"]["PostMailSend"], whole)
    jsonschema_rs.validator_for(body["content"]["application/json"]["schema"]).validate(
        letter("ana@m.example")
    )


@pytest.mark.parametrize("missing", ["personalizations", "from"])
def test_what_the_file_requires_is_required(client: FlaskClient, missing: str) -> None:
    required = document("mail")["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]
    assert missing in required["schema"]["required"]
    body = {key: value for key, value in letter("ana@m.example").items() if key != missing}
    answer = client.post("/v3/mail/send", json=body, headers=HEADERS)
    assert answer.status_code == 400
    check("mail", "post", "/v3/mail/send", answer)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500])
def test_refusals_have_the_official_form(client: FlaskClient, status: int) -> None:
    client.put("/sandbox/faults", json={"faults": [{"kind": "status", "status": status}]})
    answer = client.post("/v3/mail/send", json=letter("ana@m.example"), headers=HEADERS)
    assert answer.status_code == status
    check("mail", "post", "/v3/mail/send", answer)


def test_batches_have_the_official_form(client: FlaskClient) -> None:
    made = client.post("/v3/mail/batch", headers=HEADERS)
    check("mail", "post", "/v3/mail/batch", made)
    path = "/v3/mail/batch/{batch_id}"
    batch_id = orjson.loads(made.data)["batch_id"]
    check("mail", "get", path, client.get(f"/v3/mail/batch/{batch_id}", headers=HEADERS))
    check("mail", "get", path, client.get("/v3/mail/batch/unknown", headers=HEADERS))


def test_suppressions_have_the_official_form(client: FlaskClient) -> None:
    whole = "/v3/asm/suppressions/global"
    made = client.post(whole, json={"recipient_emails": ["ana@m.example"]}, headers=HEADERS)
    check("suppressions", "post", whole, made)
    one = f"{whole}/{{email}}"
    check("suppressions", "get", one, client.get(f"{whole}/ana@m.example", headers=HEADERS))
    check("suppressions", "delete", one, client.delete(f"{whole}/ana@m.example", headers=HEADERS))
    check("suppressions", "get", "/v3/suppression/unsubscribes", _list(client, "unsubscribes"))


@pytest.mark.parametrize("name", ["bounces", "blocks", "spam_reports", "invalid_emails"])
def test_lists_have_the_official_form(client: FlaskClient, name: str) -> None:
    store = client.application.extensions["sandbox"].store
    with store.write() as connection:
        connection.execute("INSERT INTO suppressions VALUES ('ana@m.example', ?, 7, 'why', '5.1.1')", (name,))
    path = f"/v3/suppression/{name}"
    one = f"{path}/{{email}}"
    check("suppressions", "get", path, _list(client, name))
    assert orjson.loads(_list(client, name).data)[0]["email"] == "ana@m.example"
    check("suppressions", "get", one, client.get(f"{path}/ana@m.example", headers=HEADERS))
    check("suppressions", "delete", one, client.delete(f"{path}/ana@m.example", headers=HEADERS))
    check("suppressions", "delete", path, client.delete(path, json={"delete_all": True}, headers=HEADERS))


@pytest.mark.parametrize("addresses", [["ana@m.example"], []])
def test_erasure_has_the_official_form(client: FlaskClient, addresses: list[str]) -> None:
    path = "/v3/recipients/erasejob"
    answer = client.post(path, json={"email_addresses": addresses}, headers=HEADERS)
    assert answer.status_code == (202 if addresses else 400)
    check("recipients_data_erasure", "post", path, answer)


def _list(client: FlaskClient, name: str) -> Any:
    return client.get(f"/v3/suppression/{name}", headers=HEADERS)
