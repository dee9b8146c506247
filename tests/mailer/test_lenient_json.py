"""Lenient JSON: every item that can be read is read, in bounded time."""

import json
import time

import pytest

from crm.mailer.lenient_json import DoubledKeys, read_items

SOUND = b'{"event": "bounce"}'
READ = {"event": "bounce"}


@pytest.mark.parametrize(
    ("raw", "items", "unread"),
    [
        (b"[%s]", 1, 0),
        (b"\xef\xbb\xbf[%s]", 1, 0),
        (b"%s", 1, 0),
        (b"[%s,\r\n%s]", 2, 0),
        (b"[%s %s]", 2, 0),  # a comma is missing
        (b"[%s,%s,]", 2, 0),
        (b"[%s,\r\n%s", 2, 0),  # cut off between events
        (b'[%s,\r\n{"event": "bo', 1, 1),
        (b"[%s, nonsense, %s]", 2, 1),
        (b'[%s,\r\n{"event" "bounce"},\r\n{"event": bounce},\r\n%s]', 2, 1),
        (b'[%s, {"x": {"event": "bounce"} "y"}]', 1, 1),  # an inner object is no event
        (b"", 0, 1),
        (b"7", 0, 1),
        (b"nonsense", 0, 1),
        (b"\0\0\xff", 0, 1),
    ],
)
def test_read_items(raw, items, unread):
    assert read_items(raw.replace(b"%s", SOUND)) == ([READ] * items, unread)


def test_utf_16_is_read():
    assert read_items(b"[%s]".replace(b"%s", SOUND).decode().encode("utf-16")) == ([READ], 0)


@pytest.mark.parametrize(
    "value", [b'"\\ud800"', b"NaN", b'"a\nb\tc"', b'"\xff\xfe"', b"9" * 5_000, b'"\\u0000"']
)
def test_odd_values_are_read(value):
    [one, other], unread = read_items(b'[{"x": %s}, %s]' % (value, SOUND))
    assert ("x" in one, other, unread) == (True, READ, 0)


def test_a_doubled_key_keeps_both_values():
    [item], _ = read_items(b'[{"event": "delivered", "event": "bounce"}]')
    assert isinstance(item, DoubledKeys)
    assert (item.first["event"], item["event"]) == ("delivered", "bounce")
    [item], _ = read_items(b'[{"event": "bounce", "event": "bounce"}]')
    assert not isinstance(item, DoubledKeys)


@pytest.mark.parametrize("part", [b'\n{"a":[0,', b",{", b'{"a":"', b"\n", b"[", b'{"a":', b"{}x", b'"\\'])
def test_no_text_takes_long(part):
    began = time.process_time()
    read_items(b"[" + part * (100_000 // len(part)))
    assert time.process_time() - began < 5


def test_escaped_foreign_text_is_no_event():
    forged = json.dumps(
        [{"reason": 'no\n,{"event":"spamreport","email":"victim@patients.example"},'}]
    ).encode()
    items, _ = read_items(forged[:-2] + b' "broken": }]')
    assert all("email" not in item for item in items)
