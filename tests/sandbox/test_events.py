"""Events: which, signed how, told when."""

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from sendgrid.helpers.eventwebhook import EventWebhook

from crm.sandbox import SandboxServer, SandboxSettings, inbox, public_key_base64
from crm.sandbox.events import outbox
from crm.sandbox.events.magic_addresses import KINDS, Recipient, build_event, event_waves
from crm.sandbox.events.signing_key import SIGNATURE_HEADER, TIMESTAMP_HEADER
from crm.sandbox.store import Store
from tests.sandbox.conftest import Hook, wait_until
from tests.sandbox.requests_data import Wire, letter, person


@pytest.fixture
def wire(server: SandboxServer) -> Iterator[Wire]:
    wire = Wire(server.url)
    yield wire
    wire.close()


def names(events: list[dict[str, Any]]) -> list[str]:
    return [f"{one['event']}{'/' + one['type'] if 'type' in one else ''}" for one in events]


def test_every_post_is_signed_over_timestamp_and_raw_body(
    wire: Wire, hook: Hook, quiet: SandboxSettings
) -> None:
    wire.send(letter("ana@mail.example"))
    hook.wait_for(2)
    public = public_key_base64(quiet.signing_key_path)
    key = load_der_public_key(base64.b64decode(public))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for headers, raw in hook.posts:
        signature, timestamp = headers[SIGNATURE_HEADER], headers[TIMESTAMP_HEADER]
        key.verify(base64.b64decode(signature), timestamp.encode() + raw, ec.ECDSA(hashes.SHA256()))
        assert EventWebhook(public).verify_signature(raw.decode(), signature, timestamp)
        assert raw.startswith(b"[{")
        assert raw.endswith(b"}]\r\n")
        with pytest.raises(InvalidSignature):
            key.verify(
                base64.b64decode(signature), b"1" + timestamp.encode() + raw, ec.ECDSA(hashes.SHA256())
            )


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    assert public_key_base64(path) == public_key_base64(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["key.pem"]


def test_an_event_carries_custom_args_and_request_id(wire: Wire, hook: Hook) -> None:
    body = letter(personalizations=[person("ana@mail.example", custom_args={"msg": "m7", "event": "mine"})])
    request_id = wire.send({**body, "categories": ["news"]})
    processed, delivered = hook.wait_for(2)
    assert (processed["event"], delivered["event"]) == ("processed", "delivered")
    for one in (processed, delivered):
        assert (one["email"], one["msg"], one["category"]) == ("ana@mail.example", "m7", ["news"])
        assert one["sg_message_id"].split(".", 1)[0] == request_id
        assert one["sg_message_id"].split(".", 1)[1].startswith("recvd-")
        assert one["smtp-id"].startswith("<")
        assert isinstance(one["timestamp"], int)
        assert len(one["sg_event_id"]) <= 100
    assert processed["sg_event_id"] != delivered["sg_event_id"]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("bounce@m.example", ["processed", "bounce/bounce"]),
        ("BOUNCE+ana@m.example", ["processed", "bounce/bounce"]),
        ("bounce.3@m.example", ["processed", "bounce/bounce"]),
        ("block-1@m.example", ["processed", "bounce/blocked"]),
        ("defer@m.example", ["processed", "deferred", "deferred", "delivered"]),
        ("drop@m.example", ["dropped"]),
        ("complain+1@m.example", ["processed", "delivered", "spamreport"]),
        ("unsubscribe@m.example", ["processed", "delivered", "unsubscribe"]),
        ("async-bounce@m.example", ["processed", "delivered", "bounce/bounce"]),
        ("duplicate@m.example", ["processed", "delivered", "processed", "delivered"]),
        ("shuffle@m.example", ["delivered", "processed"]),
        ("bouncer@m.example", ["processed", "delivered"]),
        ("no.bounce@m.example", ["processed", "delivered"]),
    ],
)
def test_the_address_decides_what_happens(wire: Wire, hook: Hook, address: str, told: list[str]) -> None:
    wire.send(letter(address))
    events = hook.wait_for(len(told))
    assert names(events) == told
    assert len({one["sg_event_id"] for one in events}) == (2 if "duplicate" in address else len(told))
    assert [one for one in events if "sg_message_id" not in one] == (events[2:] if "async" in address else [])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_is_whole(kind: str) -> None:
    told = Recipient(email="a@m.example", request_id="abc", index=3, custom_args={"msg": "m"}, categories=())
    made = build_event(kind, told, at=12.7)
    assert (made["msg"], made["timestamp"], made["email"]) == ("m", 12, "a@m.example")
    assert orjson.loads(orjson.dumps(made)) == made


@pytest.mark.parametrize("name", ["spam_reports", "bounces", "unsubscribes", "invalid_emails"])
def test_who_is_on_a_list_is_dropped_whatever_the_address_says(name: str) -> None:
    assert event_waves("bounce@m.example", suppressed=name) == (("dropped",),)


def test_a_request_to_a_thousand_is_posted_in_batches(quiet: SandboxSettings, hook: Hook) -> None:
    with SandboxServer(replace(quiet, webhook_url=hook.url, max_events_per_post=300)) as server:
        wire = Wire(server.url)
        wire.send(letter(*(f"p{number}@mail.example" for number in range(1000))))
        events = hook.wait_for(2000)
        wire.close()
    assert max(len(orjson.loads(raw)) for _, raw in hook.posts) == 300
    assert Counter(names(events)) == {"processed": 1000, "delivered": 1000}
    assert len({one["msg"] for one in events}) == 1000


def test_events_are_retried_until_accepted(wire: Wire, hook: Hook) -> None:
    hook.status = 500
    request_id = wire.send(letter("ana@mail.example"))
    wait_until(lambda: len(hook.posts) >= 3)
    events = wire.json("GET", f"/sandbox/messages/{request_id}.0")["events"]
    assert [(one["told"], one["trouble"]) for one in events] == [("waiting", "answered 500")] * 2
    hook.status = 204
    wait_until(lambda: wire.json("GET", "/sandbox/status")["events_waiting"] == 0)
    tries = Counter(one["sg_event_id"] for one in hook.events)
    assert len(tries) == 2
    assert wire.json("GET", f"/sandbox/messages/{request_id}.0")["events"][0]["told"] == "told"
    assert any(
        call["note"] == "2 events, answered 500" for call in wire.json("GET", "/sandbox/calls")["calls"]
    )


def test_the_intervals_grow_and_end(quiet: SandboxSettings) -> None:
    now = [0.0]
    settings = replace(
        quiet,
        webhook_url="http://clinic.example",
        clock=lambda: now[0],
        retry_first=1,
        retry_longest=5,
        give_up_after=14,
    )
    store = Store(None)
    body = orjson.dumps(letter("drop@mail.example"))
    inbox.store_request(store, body, mails=1, now=0, due_at=0, answered=True)
    assert outbox.expand(store, settings) == 1
    tries = []
    for second in range(100):
        now[0] = second
        if chunks := outbox.due(store, now=second, most=10):
            tries.append(second)
            outbox.mark_failed(store, chunks, "answered 500", settings)
    assert tries == [0, 1, 3, 7, 12, 17]
    assert [one["told"] for one in outbox.events_of(store, inbox.page(store).mails[0])] == ["given up"]
    store.close()


def test_a_redirect_is_not_followed(wire: Wire, hook: Hook) -> None:
    hook.status = 301
    wire.send(letter("ana@mail.example"))
    wait_until(lambda: len(hook.posts) >= 2)
    assert wire.json("GET", "/sandbox/status")["events_waiting"] == 2


def test_events_outlive_the_process_that_made_them(quiet: SandboxSettings, hook: Hook) -> None:
    hook.status = 503
    settings = replace(quiet, webhook_url=hook.url)
    with SandboxServer(settings) as server:
        wire = Wire(server.url)
        wire.send(letter("ana@mail.example"))
        wait_until(lambda: bool(hook.posts))
        wire.close()
    hook.posts.clear()
    hook.status = 204
    with SandboxServer(settings):
        assert names(hook.wait_for(2)) == ["processed", "delivered"]


def test_events_of_a_mail_for_later_wait_for_it(quiet: SandboxSettings, hook: Hook) -> None:
    now = [1_772_557_200.0]
    with SandboxServer(replace(quiet, webhook_url=hook.url, clock=lambda: now[0])) as server:
        wire = Wire(server.url)
        wire.send(letter("late@mail.example", send_at=int(now[0]) + 3600))
        wire.send(letter("ana@mail.example"))
        assert {one["email"] for one in hook.wait_for(2)} == {"ana@mail.example"}
        now[0] += 3600
        assert {one["timestamp"] for one in hook.wait_for(4)[2:]} == {1_772_557_200 + 3600}
        wire.close()
    assert int(hook.posts[-1][0][TIMESTAMP_HEADER]) == 1_772_557_200 + 3600


def test_without_a_webhook_events_are_kept_for_the_pages(quiet: SandboxSettings) -> None:
    with SandboxServer(quiet) as server:
        wire = Wire(server.url)
        request_id = wire.send(letter("ana@mail.example"))
        path = f"/sandbox/messages/{request_id}.0"
        wait_until(lambda: len(wire.json("GET", path)["events"]) == 2)
        assert {one["told"] for one in wire.json("GET", path)["events"]} == {"nobody to tell"}
        wire.close()


def test_events_can_be_left_out(quiet: SandboxSettings, hook: Hook) -> None:
    with SandboxServer(replace(quiet, webhook_url=hook.url, events=False)) as server:
        wire = Wire(server.url)
        request_id = wire.send(letter("bounce@mail.example"))
        wait_until(lambda: wire.json("GET", "/sandbox/status")["requests_without_events_yet"] == 0)
        assert wire.json("GET", f"/sandbox/messages/{request_id}.0")["events"] == []
        wire.close()


def test_an_event_can_be_made_on_demand(wire: Wire, hook: Hook) -> None:
    request_id = wire.send(letter("ana@mail.example", "bo@mail.example"))
    hook.wait_for(4)
    path = f"/sandbox/messages/{request_id}.1/events"
    made = wire.json("POST", path, {"event": "async_bounce"})["events"]
    assert hook.wait_for(5)[4] == made[0]
    assert (made[0]["email"], made[0]["msg"], "sg_message_id" in made[0]) == ("bo@mail.example", "m1", False)
    again = wire.json("POST", path, {"event": "duplicate"})["events"]
    assert hook.wait_for(8)[5:] == again
    assert {one["sg_event_id"] for one in again} <= {one["sg_event_id"] for one in hook.events[:5]}
    assert wire.call("POST", path, {"event": "lost"})[0] == 422
    assert wire.call("POST", f"/sandbox/messages/{request_id}.2/events", {"event": "bounce"})[0] == 404


def test_held_events_wait_until_they_are_let_go(wire: Wire, hook: Hook) -> None:
    wire.call("PUT", "/sandbox/faults", {"events": {"hold": True}})
    wire.send(letter("ana@mail.example"))
    wait_until(lambda: wire.json("GET", "/sandbox/status")["events_waiting"] == 2)
    assert hook.posts == []
    wire.call("DELETE", "/sandbox/faults")
    assert names(hook.wait_for(2)) == ["processed", "delivered"]


def test_events_can_be_sent_twice_and_out_of_order(wire: Wire, hook: Hook) -> None:
    wire.call("PUT", "/sandbox/faults", {"events": {"hold": True, "shuffle": True, "duplicate": True}})
    wire.send(letter(*(f"p{number}@mail.example" for number in range(50))))
    wait_until(lambda: wire.json("GET", "/sandbox/status")["events_waiting"] == 100)
    wire.call("PUT", "/sandbox/faults", {"events": {"shuffle": True, "duplicate": True}})
    events = hook.wait_for(200)
    assert set(Counter(one["sg_event_id"] for one in events).values()) == {2}
    assert names(events[:100]) != ["processed"] * 50 + ["delivered"] * 50
