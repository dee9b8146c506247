"""Working leads through the API: filters, fields, pages, versions."""

import pytest
from sqlalchemy import select, update

from crm.contacts.models import Activity
from crm.db import db, transaction
from crm.referrers import service as referrers
from crm.staff.models import ApiKey
from tests.leads.test_desk import new_lead
from tests.leads.test_intake import SENDER
from tests.leads.test_service import user
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
def test_filters_that_are_wrong(client, key, query):
    assert client.get(f"{LEADS}?{query}", headers=key).status_code == 422


def test_a_change_needs_the_version_it_was_read_in(client, key):
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


def test_who_does_not_get_in(client, clock):
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
