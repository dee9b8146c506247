"""Desk API: filters, fields, pages, versions, work."""

import base64

import orjson
import pytest
from sqlalchemy import select, update

from crm.contacts.models import Activity
from crm.core.db import db, transaction
from crm.referrers import service as referrers
from crm.staff.models import ApiKey
from tests.desk.test_console_work import new_lead
from tests.intake.test_service import SENDER
from tests.leads.test_service import user
from tests.support.browser_client import signed_in
from tests.web.test_api import make_key

LEADS = "/api/v1/desk/leads"


@pytest.fixture
def key(client, clock):
    return make_key("leads:work")


def test_pages_fields_and_filters(client, key, clock):
    for number in range(3):
        new_lead(number)
        clock.shift(1)
    first = client.get(f"{LEADS}?limit=2&fields=last_name,stage", headers=key).json
    assert first["leads"] == [{"last_name": "N2", "stage": "new"}, {"last_name": "N1", "stage": "new"}]
    second = client.get(f"{LEADS}?limit=2&fields=last_name&cursor={first['next']}", headers=key).json
    assert second == {"leads": [{"last_name": "N0"}], "next": None}
    assert client.get(f"{LEADS}?stage=contacted", headers=key).json["leads"] == []
    assert len(client.get(f"{LEADS}?owner_id=0&state=open", headers=key).json["leads"]) == 3


@pytest.mark.parametrize(
    "query",
    [
        "stage=fun",
        "kind=x",
        "limit=0",
        "limit=201",
        "cursor=zzz",
        "fields=message",
        "owner_id=-1",
        f"owner_id={2**63}",
    ],
)
def test_invalid_filters(client, key, query):
    answer = client.get(f"{LEADS}?{query}", headers=key)
    assert answer.status_code == 422
    assert list(answer.json["error"]["fields"]) == [query.split("=")[0]]


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("2026-01-01T00:00:00+00:00",),
        ("2026-01-01T00:00:00", 1),
        ("yesterday", 1),
        ("2026-01-01T00:00:00+00:00", 2**63),
        ("2026-01-01T00:00:00+00:00", "1"),
        ("2026-01-01T00:00:00+00:00", True),
        ("0001-01-01T00:00:00+23:00", 1),
        (None, None),
    ],
)
@pytest.mark.parametrize(
    "address", [f"{LEADS}?cursor=", "/console/leads?older=", "/console/leads/work?list=overdue&cursor="]
)
def test_foreign_cursors(client, database, key, address, values):
    cursor = base64.urlsafe_b64encode(orjson.dumps(values)).decode()
    asker = signed_in(database, "admin") if "console" in address else client
    answer = asker.get(address + cursor, headers=key)
    assert answer.status_code == 422
    assert "page marker is not valid" in answer.text


def test_change_needs_version(client, key):
    lead = new_lead()
    address = f"{LEADS}/{lead.reference}"
    got = client.get(address, headers=key)
    tag = got.headers["ETag"]
    assert got.json["phone"] == "+12135550000"
    assert "message" not in got.json
    moves = f"{address}/moves"
    assert client.post(moves, json={"to": "contacted"}, headers=key).status_code == 428
    moved = client.post(moves, json={"to": "contacted"}, headers=key | {"If-Match": tag})
    assert (moved.status_code, moved.json["stage"]) == (200, "contacted")
    late = client.post(moves, json={"to": "qualified"}, headers=key | {"If-Match": tag})
    assert (late.status_code, late.json["error"]["code"]) == (412, "changed")
    fresh = key | {"If-Match": moved.headers["ETag"]}
    assert client.post(moves, json={"to": "patient"}, headers=fresh).status_code == 409
    assert client.post(moves, json={"to": "fun"}, headers=fresh).status_code == 422
    assert client.post(moves, json={"to": "lost"}, headers=fresh | {"If-Match": "*"}).status_code == 412


def test_owner_and_note(client, key):
    lead = new_lead()
    address = f"{LEADS}/{lead.reference}"
    sam = user()
    tag = key | {"If-Match": client.get(address, headers=key).headers["ETag"]}
    given = client.put(f"{address}/owner", json={"owner_id": sam.id}, headers=tag)
    assert given.json["owner_id"] == sam.id
    tag["If-Match"] = given.headers["ETag"]
    assert client.put(f"{address}/owner", json={"owner_id": 2**62}, headers=tag).status_code == 422
    assert client.put(f"{address}/owner", json={"owner_id": None}, headers=tag).json["owner_id"] is None
    for _ in range(2):
        once = client.post(f"{address}/notes", json={"text": "Hi"}, headers=key | {"Idempotency-Key": "n1"})
        assert once.status_code == 201
    assert len(db.session.scalars(select(Activity).where(Activity.kind == "note")).all()) == 1
    assert client.post(f"{address}/notes", json={"text": " "}, headers=key).status_code == 422


def test_access(client, clock):
    lead = new_lead()
    with transaction():
        practice = referrers.find_or_create(sender=SENDER).practice_id
    theirs = make_key("leads:work")
    with transaction():  # a key of before the rule that no practice's key has this scope
        db.session.execute(update(ApiKey).values(practice_id=practice))
    for address in (LEADS, f"{LEADS}/{lead.reference}"):
        assert client.get(address, headers=theirs).status_code == 403
        assert client.get(address, headers=make_key("leads:read")).status_code == 403
    assert client.get(f"{LEADS}/C-222222", headers=make_key("leads:work")).status_code == 404


def test_calls_tasks_tags_consultations(client, key, clock):
    lead = new_lead()
    address = f"{LEADS}/{lead.reference}"
    body = {"channel": "phone", "outcome": "reached", "note": "Nice talk"}
    assert client.post(f"{address}/calls", json=body, headers=key).status_code == 201
    assert (lead.stage, lead.attempts) == ("contacted", 1)
    made = client.post(
        f"{address}/tasks", json={"title": "Send records", "due_at": "2026-03-06T17:00:00Z"}, headers=key
    ).json["id"]
    [task] = client.get("/api/v1/desk/tasks?limit=1", headers=key).json["tasks"]
    assert (task["id"], task["reference"], task["title"]) == (made, lead.reference, "Send records")
    assert client.post(f"/api/v1/desk/tasks/{made}/done", headers=key).status_code == 200
    assert client.post(f"/api/v1/desk/tasks/{made}/done", headers=key).status_code == 409
    for _ in range(2):
        assert client.put(f"{address}/tags/Spring", headers=key).status_code == 200
    assert client.put(f"{address}/tags/a%3Cb%3E", headers=key).status_code == 422
    tag = client.get(address, headers=key).headers["ETag"]
    visit = {"starts_at": "2026-03-05T18:00:00Z", "minutes": 45}
    assert client.post(f"{address}/consultations", json=visit, headers=key).status_code == 428
    answer = client.post(f"{address}/consultations", json=visit, headers=key | {"If-Match": tag})
    assert (answer.status_code, answer.json["minutes"], lead.stage) == (201, 45, "consult_scheduled")
    for _ in range(2):
        assert client.delete(f"{address}/tags/spring", headers=key).status_code == 200
    first = client.get(f"{address}/timeline?limit=3", headers=key).json
    rest = client.get(f"{address}/timeline?cursor={first['next']}", headers=key).json
    titles = [entry["title"] for entry in first["entries"] + rest["entries"]]
    assert titles[-1] == "Contact request received through the contact form"
    assert "Phone call: spoke to the person (attempt 1)" in titles
    assert "Nice talk" not in str(first) + str(rest)


@pytest.mark.parametrize(
    ("where", "body"),
    [
        ("calls", {"channel": "pigeon", "outcome": "reached"}),
        ("tasks", {"title": "", "due_at": "2026-03-06T17:00:00Z"}),
        ("tasks", {"title": "X", "due_at": "soon"}),
        ("tasks", {"title": "X", "due_at": "2026-03-06T17:00:00Z", "owner_id": 999999}),
        ("tasks", {"title": "X\0", "due_at": "2026-03-06T17:00:00Z"}),
        ("consultations", {"starts_at": "2026-03-05T18:00:00Z", "minutes": 7}),
    ],
)
def test_invalid_work(client, key, where, body):
    lead = new_lead()
    answer = client.post(f"{LEADS}/{lead.reference}/{where}", json=body, headers=key | {"If-Match": '"1"'})
    assert answer.status_code == 422, answer.json
