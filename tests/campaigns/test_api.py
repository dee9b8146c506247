"""Broadcasts through the JSON API."""

import pytest
from sqlalchemy import update

from crm.core.db import db, transaction
from crm.staff.keys import api_keys
from crm.staff.models import ApiKey
from tests.campaigns.conftest import ITEM, audience, deliver, freeze, reached

PATH = "/api/v1/campaigns"


def key(scope: str) -> dict[str, str]:
    with transaction():
        _, plain = api_keys.create(name="website", scopes=[scope])
    return {"Authorization": f"Bearer {plain}"}


@pytest.fixture
def call(client, outbox):
    headers = key("campaigns:write")

    def send(path: str, body=None, expect: int = 200):
        answer = client.get(f"{PATH}{path}", headers=headers) if body is None else None
        answer = answer or client.post(f"{PATH}{path}", json=body, headers=headers)
        assert answer.status_code == expect, answer.json
        return answer.json

    return send


def test_from_draft_to_finished(call, outbox, app):
    people = audience(3)
    drafted = call("", {"name": "News", "item": ITEM}, expect=201)
    path = f"/{drafted['id']}"
    assert call(f"{path}/preflight") == {"people": 3, "skipped": {}, "had": 0, "refusal": None}
    assert call(f"{path}/launch", {})["state"] == "freezing"
    freeze(drafted["id"])
    assert call(f"{path}/pause", {})["progress"]["waiting"] == 3
    call(f"{path}/resume", {})
    deliver(app)
    assert call(path)["progress"] == {
        "people": 3, "waiting": 0, "accepted": 3, "left_out": 0, "failed": 0, "uncertain": 0, "cancelled": 0,
    }  # fmt: skip
    assert len(reached(outbox)) == len(people)
    assert call(f"{path}/not-sent") == {"rows": [], "next": None}
    assert (
        call(f"{path}/resend", {}, expect=409)["error"]["message"] == "Wait until this broadcast has ended."
    )


def test_the_rest_is_listed_page_by_page(call):
    people = audience(120)
    drafted = call("", {"name": "News", "item": ITEM}, expect=201)
    call(f"/{drafted['id']}/launch", {})
    freeze(drafted["id"])
    assert call(f"/{drafted['id']}/cancel", {})["progress"]["cancelled"] == 120
    first = call(f"/{drafted['id']}/not-sent")
    rest = call(f"/{drafted['id']}/not-sent?cursor={first['next']}")
    assert [row["contact_id"] for row in first["rows"] + rest["rows"]] == people
    assert rest["next"] is None
    assert call(f"/{drafted['id']}/resend", {}, expect=201)["state"] == "draft"


def test_above_a_thousand_the_number_is_asked_for(call):
    audience(1_001)
    drafted = call("", {"name": "News", "item": ITEM}, expect=201)
    refused = call(f"/{drafted['id']}/launch", {}, expect=422)
    assert "1,001" in refused["error"]["fields"]["people"][0]
    call(f"/{drafted['id']}/launch", {"people": 1_001})


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/1", None, 404), ("", {"name": "x"}, 422), ("/1/pause", {}, 404)]
)
def test_refusals(call, path, body, status):
    call(path, body, expect=status)


def test_another_scope_does_not_open_it(client, outbox):
    assert client.get(f"{PATH}/1", headers=key("leads:read")).status_code == 403


def test_a_practice_does_not_write_to_the_clinics_people(client, outbox):
    """Not even with a key whose row says so: one of before that rule, or put there by hand."""
    headers = key("campaigns:write")
    assert client.get(f"{PATH}/1", headers=headers).status_code == 404
    with transaction():
        db.session.execute(update(ApiKey).values(practice_id=1))
    refused = client.post(PATH, json={"name": "News", "item": ITEM}, headers=headers)
    assert refused.status_code == 403
    assert "campaigns:write" in refused.json["error"]["message"]


def test_repeats_are_left_out_unless_allowed(call, outbox, app):
    audience(2)
    first = call("", {"name": "News", "item": ITEM}, expect=201)
    call(f"/{first['id']}/launch", {})
    freeze(first["id"])
    deliver(app)
    once = call("", {"name": "News", "item": ITEM}, expect=201)
    again = call("", {"name": "News", "item": ITEM, "repeat_allowed": True}, expect=201)
    assert call(f"/{once['id']}/preflight") == {
        "people": 0,
        "skipped": {"had_already": 2},
        "had": 2,
        "refusal": None,
    }
    assert call(f"/{again['id']}/preflight") == {"people": 2, "skipped": {}, "had": 2, "refusal": None}


def test_an_unknown_tag_is_refused(call):
    refused = call("", {"name": "News", "item": ITEM, "tags": ["no one"]}, expect=422)
    assert "No one has the tag" in refused["error"]["fields"]["tags"][0]
