"""The official signature vector, what must not pass, and the provider's words in ours."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from crm.mailer.sendgrid_events import Event, parse, verify

# The one positive vector of SendGrid's own Python library (test/unit/test_eventwebhook.py, release 6.12.5).
KEY_HEAD = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"  # what every P-256 key begins with
KEY = KEY_HEAD + "83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
OTHER_KEY = (
    KEY_HEAD + "qTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA=="
)
SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
OTHER_SIGNATURE = (
    "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH3j/0="
)
STAMP = "1600112502"
BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
SIGNED_AT = datetime.fromtimestamp(int(STAMP), UTC)


@pytest.mark.parametrize(
    ("change", "genuine"),
    [
        ({}, True),
        ({"keys": [OTHER_KEY, KEY]}, True),  # while one key replaces the other
        ({"now": SIGNED_AT + timedelta(hours=24)}, True),  # a retry
        ({"now": SIGNED_AT + timedelta(hours=26)}, False),
        ({"now": SIGNED_AT - timedelta(hours=26)}, False),
        ({"keys": [OTHER_KEY]}, False),
        ({"keys": []}, False),
        ({"keys": ["not a key"]}, False),
        ({"raw": BODY.rstrip()}, False),
        ({"raw": BODY.replace(b"\r\n", b"\n")}, False),
        ({"raw": BODY.replace(b"hello", b"hallo")}, False),
        ({"raw": b"payload"}, False),
        ({"signature": None}, False),
        ({"signature": ""}, False),
        ({"signature": "***"}, False),
        ({"signature": OTHER_SIGNATURE}, False),
        ({"timestamp": None}, False),
        ({"timestamp": "timestamp"}, False),
        ({"timestamp": "9" * 40}, False),
        ({"timestamp": "1600112503"}, False),
    ],
)  # fmt: skip
def test_only_what_sendgrid_signed(change, genuine):
    given = {
        "raw": BODY,
        "signature": SIGNATURE,
        "timestamp": STAMP,
        "keys": [KEY],
        "now": SIGNED_AT,
    } | change
    assert verify(given.pop("raw"), **given) is genuine


def one(**fields) -> bytes:
    return json.dumps(
        [{"sg_event_id": "e1", "timestamp": 1600112492, "email": "a@b.example", **fields}]
    ).encode()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"event": "processed"}, "processed"),
        ({"event": "deferred", "attempt": "5"}, "deferred"),
        ({"event": "delivered"}, "delivered"),
        ({"event": "bounce", "type": "bounce"}, "bounced"),
        ({"event": "bounce"}, "bounced"),
        ({"event": "bounce", "type": "blocked"}, "blocked"),
        ({"event": "dropped", "reason": "Bounced Address"}, "bounced"),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, "unsubscribed"),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, "complained"),
        ({"event": "dropped", "reason": "Invalid SMTPAPI header"}, "dropped"),
        ({"event": "spamreport"}, "complained"),
        ({"event": "unsubscribe"}, "unsubscribed"),
        ({"event": "group_unsubscribe", "category": ["a"]}, "unsubscribed"),
        ({"event": "open", "sg_machine_open": True, "category": "a"}, "other"),
        ({"event": "account_status_change"}, "other"),
        ({"event": 7}, "other"),
    ],
)
def test_our_words_for_their_events(fields, kind):
    assert [event.kind for event in parse(one(**fields))] == [kind]


def test_our_message_id_comes_back():
    assert parse(one(event="delivered", pp_msg="42"))[0].message_id == 42
    assert parse(one(event="bounce"))[0].message_id is None
    assert parse(one(event="delivered", pp_msg="' or 1=1"))[0].message_id is None


def test_foreign_words_are_capped_and_tidied():
    [event] = parse(
        one(event="bounce", reason="550 no\r\nSet-Cookie: x <b>ana@patients.example</b> " + "y" * 5_000)
    )
    assert isinstance(event, Event)
    assert event.detail is not None
    assert event.detail.startswith("550 no Set-Cookie: x [address]")
    assert len(event.detail) <= 500
    assert event.detail.isprintable()


@pytest.mark.parametrize(
    "raw", [b"[1, null, {}, []]", b'[{"sg_event_id": 5, "timestamp": 1}]', b'[{"sg_event_id": "x"}]']
)
def test_what_is_no_event_is_left_out(raw):
    assert parse(raw) == []


@pytest.mark.parametrize("raw", [b"{}", b"", b"[", b'"x"', b"\xff"])
def test_what_is_no_list_is_refused(raw):
    with pytest.raises(ValueError, match=r".+"):
        parse(raw)
