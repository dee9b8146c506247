"""The official signature vector, what must not pass, and the provider's words in ours."""

import gzip
import json
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.mailer.sendgrid_events import MOST_INFLATED, Event, Post, Unclear, inflate, parse, verify

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


NOW = datetime.fromtimestamp(1600112500, UTC)


def read(raw: bytes) -> Post:
    return parse(raw, now=NOW, make_id=lambda words: f"made-{hash(words)}")


def only(raw: bytes) -> Event:
    [event] = read(raw).events
    return event


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
        ({"event": "bounce", "type": ["blocked"]}, "bounced"),
        ({"event": "dropped", "reason": "Bounced Address"}, "dropped"),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, "dropped"),
        ({"event": "dropped"}, "dropped"),
        ({"event": "spamreport"}, "complained"),
        ({"event": " SpamReport"}, "complained"),
        ({"event": "unsubscribe"}, "unsubscribed"),
        ({"event": "group_unsubscribe", "category": ["a"]}, "unsubscribed"),
        ({"event": "open", "sg_machine_open": True, "category": "a"}, "other"),
        ({"event": "account_status_change"}, "other"),
    ],
)
def test_our_words_for_their_events(fields, kind):
    assert only(one(**fields)).kind == kind
    assert not read(one(**fields)).unclear


@pytest.mark.parametrize(
    ("reason", "listed"),
    [
        ("Bounced Address", "bounces"),
        ("Spam Reporting Address", "spam_reports"),
        ("unsubscribed address ", "unsubscribes"),
        ("Invalid", "invalid_emails"),
        ("Invalid SMTPAPI header", None),
        ("Spam Content", None),
        (None, None),
    ],
)
def test_a_drop_names_the_list(reason, listed):
    assert only(one(event="dropped", reason=reason)).listed == listed


def test_only_a_drop_names_a_list():
    assert only(one(event="spamreport", reason="Bounced Address")).listed is None


@pytest.mark.parametrize(
    ("given", "message_id"),
    [
        ("42", 42),
        (42, 42),
        (" 42 ", 42),
        ("' or 1=1", None),
        (True, None),
        (-1, None),
        ("9" * 29, None),
        ([], None),
    ],
)
def test_our_message_id_comes_back(given, message_id):
    assert only(one(event="delivered", pp_msg=given)).message_id == message_id


def test_foreign_words_are_capped_and_tidied():
    event = only(
        one(event="bounce", reason="550 no\r\nSet-Cookie: x <b>ana@patients.example</b> " + "y" * 5_000)
    )
    assert event.detail is not None
    assert event.detail.startswith("550 no Set-Cookie: x [address]")
    assert len(event.detail) <= 500
    assert event.detail.isprintable()


@pytest.mark.parametrize(
    ("stamp", "seconds", "unclear"),
    [
        (1600112492, 1600112492, None),
        (1600112492.5, 1600112492.5, None),
        ("1600112492", 1600112492, None),
        (1600112492000, 1600112492, None),
        ("1600112492000", 1600112492, None),
        ("2020-09-14T19:41:32Z", 1600112492, None),
        ("2020-09-14 19:41:32", 1600112492, None),
        ("yesterday", 1600112500, "no_time"),
        ("nan", 1600112500, "no_time"),
        (None, 1600112500, "no_time"),
        (True, 1600112500, "no_time"),
        ({}, 1600112500, "no_time"),
        (0, 1600112500, "odd_time"),
        (-(10**18), 1600112500, "odd_time"),
        (10**30, 1600112500, "odd_time"),
        ("inf", 1600112500, "odd_time"),
        (1700112492, 1600112500, "odd_time"),
    ],
)
def test_any_time_is_acted_on(stamp, seconds, unclear):
    post = read(one(event="spamreport", timestamp=stamp))
    assert [event.at.timestamp() for event in post.events] == [seconds]
    assert list(post.unclear) == ([unclear] if unclear else [])


@pytest.mark.parametrize(("given", "kept"), [("e1", "e1"), (7, "7"), ("x" * 200, "x" * 200)])
def test_an_id_is_kept(given, kept):
    assert only(one(event="bounce", sg_event_id=given)).event_id == kept


@pytest.mark.parametrize("given", [None, "", True, [], "x" * 201, "a\0b", "\ud800"])
def test_an_event_without_an_id_gets_one(given):
    raw = one(event="bounce", sg_event_id=given)
    assert only(raw).event_id == only(raw).event_id
    assert only(raw).event_id.startswith("made-")
    assert read(raw).unclear == {Unclear.NO_ID: 1}
    assert only(raw).event_id != only(one(event="bounce", sg_event_id=given, email="b@b.example")).event_id


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("Ana <ana@b.example>", "ana@b.example"),
        ("o'brien@b.example", "o'brien@b.example"),
        ("'d.o'neil-x@b.example'", "d.o'neil-x@b.example"),
        (" ana@b.example\r\n", "ana@b.example"),
        ("mailto:ana@b.example", "ana@b.example"),
        ("ana", ""),
        ("", ""),
        (7, ""),
        ("an" + chr(0xFFFD) + "a@b.example", ""),
        ("a" * 400 + "@b.example", ""),
    ],
)
def test_an_odd_address(given, address):
    assert only(one(event="bounce", email=given)).email == address


def test_a_doubled_key_is_read_on_doubt():
    head = b'[{"sg_event_id": "e1", "timestamp": 1600112492, '
    post = read(head + b'"email": "a@b.example", "event": "spamreport", "event": "delivered"}]')
    assert [event.kind for event in post.events] == ["complained"]
    assert post.unclear == {Unclear.DOUBLED_KEY: 1}
    post = read(head + b'"event": "bounce", "email": "a@b.example", "email": "c@b.example"}]')
    assert {event.email for event in post.events} == {"a@b.example", "c@b.example"}
    assert len({event.event_id for event in post.events}) == 2
    post = read(head + b'"email": "a@b.example", "event": "processed", "ev\\u0065nt": "delivered"}]')
    assert [event.kind for event in post.events] == ["delivered"]


@pytest.mark.parametrize(
    ("raw", "unclear"),
    [
        (b"[1, null, {}, []]", {Unclear.NO_OBJECT: 3, Unclear.UNKNOWN_KIND: 1}),
        (b'[{"event": 7}, {"event": "new"}]', {Unclear.UNKNOWN_KIND: 2}),
        (b"{}", {Unclear.UNKNOWN_KIND: 1}),
        *[(raw, {Unclear.NOT_JSON: 1}) for raw in (b"", b"[", b'"x"', b"\xff", b"\x1f\x8b\x00")],
    ],
)
def test_what_is_no_event_is_counted(raw, unclear):
    assert read(raw) == Post([], Counter(unclear))


def test_a_compressed_post_is_inflated_within_bounds():
    assert only(gzip.compress(one(event="bounce"))).kind == "bounced"
    bomb = gzip.compress(one(event="bounce")[:-1] + b", " + b" " * 50_000_000)
    assert len(inflate(bomb)) == MOST_INFLATED
    assert only(bomb).kind == "bounced"
    cut = gzip.compress(one(event="bounce") + secrets.token_bytes(200_000))[:150_000]
    assert only(cut).kind == "bounced"


BROKEN = (
    *(
        b"1",
        b"null",
        b"[]",
        b"{}",
        b'{"event": "bo',
        b'{"x": NaN}',
        b'{"x": "\\ud800"}',
        b'{"x": "a\nb"}',
        b'{"x": "\xff"}',
    ),
    *(
        b'{"x": %s}' % (b"9" * 5_000),
        b'{"event": "open", "event": "click"}',
        b'{"event" "bounce"}',
        b"nonsense",
        b"\xef\xbb\xbf",
    ),
)


@given(
    sound=st.lists(st.sampled_from(["delivered", "bounce", "spamreport"]), max_size=6),
    broken=st.lists(st.sampled_from(BROKEN), max_size=6),
    packed=st.booleans(),
    data=st.data(),
)
def test_sound_events_are_read_whatever_is_beside_them(sound, broken, packed, data):
    made = [one(event=name, sg_event_id=f"e{number}")[1:-1] for number, name in enumerate(sound)]
    items = data.draw(st.permutations([*made, *broken]))
    raw = b"[" + b",\r\n".join(items) + b"]"
    post = read(gzip.compress(raw) if packed else raw)
    found = {event.event_id for event in post.events if event.event_id.startswith("e")}
    assert found == {f"e{number}" for number in range(len(sound))}
    only_marks = bool(broken) and not made  # a post without any item is not understood either
    assert bool(post.unclear) == (only_marks or any(one != b"\xef\xbb\xbf" for one in broken))


@given(
    raw=st.binary()
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "event",
                        "email",
                        "timestamp",
                        "sg_event_id",
                        "pp_msg",
                        "type",
                        "reason",
                        "sg_message_id",
                    ]
                ),
                inner,
            )
        ),
    ).map(lambda value: json.dumps([value]).encode())
)
def test_no_bytes_are_an_error(raw):
    assert isinstance(read(raw), Post)
