"""Signed links: the standard's MAC, older links, and tokens that are not valid."""

import base64
import hashlib
import hmac
import struct

import pytest
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from crm.core import tokens
from crm.core.errors import NotFound
from crm.core.link_keys import LinkKeys
from crm.core.tokens import Purpose

SECRET, NEWER = "a secret of this test, long enough to be one", "the secret that came after it, as long"
ids = st.integers(-(2**63), 2**63 - 1)
serials = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True, scope="module")
def keys(app):
    kept = app.services.link_keys
    app.services.link_keys = LinkKeys([SECRET])
    with app.app_context():
        yield
    app.services.link_keys = kept


@given(st.lists(ids, max_size=5), serials, st.sampled_from(Purpose))
def test_macs_match_the_standard(people, serial, purpose):
    """AES-256-CMAC as the library does it, one by one (NIST SP 800-38B)."""
    key = hashlib.sha256(b"link token, AES-CMAC\0" + SECRET.encode()).digest()
    for row_id, token in zip(people, tokens.sign_many(purpose, people, serial=serial), strict=True):
        raw = base64.urlsafe_b64decode(token[:-1])
        mac = CMAC(algorithms.AES(key))
        mac.update(raw[:14])
        assert raw[14:] == mac.finalize()
        assert tokens.read(purpose, token) == (row_id, serial)


def _older(purpose, row_id, serial, secret=SECRET):
    key = hashlib.sha256(b"link token\0" + secret.encode()).digest()
    head = struct.pack(">BBqI", purpose, key[0], row_id, serial)
    return base64.urlsafe_b64encode(head + hmac.digest(key, head, "sha256")[:16]).decode()


def test_links_of_earlier_releases():
    assert tokens.read(Purpose.UNSUBSCRIBE, _older(Purpose.UNSUBSCRIBE, 7, 9)) == (7, 9)
    with pytest.raises(NotFound):
        tokens.read(Purpose.UNSUBSCRIBE, _older(Purpose.UNSUBSCRIBE, 7, 9, secret=NEWER))


@given(ids, st.integers(0, 239), st.booleans())
def test_changed_bit_is_invalid(row_id, bit, older):
    token = _older(Purpose.STATUS, row_id, 1) if older else tokens.sign(Purpose.STATUS, row_id, serial=1)
    raw = bytearray(base64.urlsafe_b64decode(token[:40]))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotFound):
        tokens.read(Purpose.STATUS, base64.urlsafe_b64encode(raw).decode())


def test_no_token_ends_in_a_sign():
    ends = {token[-1] for token in tokens.sign_many(Purpose.UNSUBSCRIBE, range(2000))}
    assert all(map(str.isalnum, ends))


@pytest.mark.parametrize("sign", list(".,;:!?)>]/\"'”"))
def test_a_sign_after_the_token_is_passed_over(sign):
    for token in (tokens.sign(Purpose.UNSUBSCRIBE, 7, serial=9), _older(Purpose.UNSUBSCRIBE, 7, 9)):
        assert tokens.read(Purpose.UNSUBSCRIBE, token + sign) == (7, 9)
        with pytest.raises(NotFound):
            tokens.read(Purpose.UNSUBSCRIBE, token + "x")
    with pytest.raises(NotFound):
        tokens.read(Purpose.UNSUBSCRIBE, sign)


def test_token_of_another_purpose_is_invalid():
    with pytest.raises(NotFound):
        tokens.read(Purpose.CONFIRM, tokens.sign(Purpose.UNSUBSCRIBE, 7))


def test_old_keys_keep_old_links_valid(app, monkeypatch):
    token = tokens.sign(Purpose.UNSUBSCRIBE, 7)
    monkeypatch.setattr(app.services, "link_keys", LinkKeys([NEWER, SECRET]))
    assert tokens.read(Purpose.UNSUBSCRIBE, token) == (7, 0)
    assert tokens.sign(Purpose.UNSUBSCRIBE, 7) != token
