"""Encrypted files: what comes out is what went in, and no changed file is read."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.ops import sealed_files
from crm.ops.sealed_files import BrokenFile

KEY = b"k" * 32


def sealed(plain: bytes) -> bytes:
    target = io.BytesIO()
    sealed_files.seal(io.BytesIO(plain), target, key_id="b1", key=KEY)
    return target.getvalue()


def opened(stored: bytes, **keys: bytes) -> bytes:
    return b"".join(sealed_files.unseal(io.BytesIO(stored), keys=keys or {"b1": KEY}))


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 25])
def test_any_size(monkeypatch, size):
    monkeypatch.setattr(sealed_files, "PIECE", 10)
    assert opened(sealed(b"x" * size)) == b"x" * size


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 70))
def test_a_shorter_file_is_refused(cut):
    whole = sealed(b"0123456789" * 3)
    if cut < len(whole):
        with pytest.raises(BrokenFile):
            opened(whole[:cut])


def test_a_piece_left_out_is_refused(monkeypatch):
    monkeypatch.setattr(sealed_files, "PIECE", 10)
    whole = sealed(b"0123456789" * 3)
    head = len(whole) - 3 * 26
    for left in (whole[: head + 52], whole[:head] + whole[head + 26 :]):
        with pytest.raises(BrokenFile, match="cut off"):
            opened(left)


def test_another_key_is_refused():
    with pytest.raises(BrokenFile, match="BACKUP_KEYS"):
        opened(sealed(b"x"), b2=KEY)
    with pytest.raises(BrokenFile, match="changed"):
        opened(sealed(b"x"), b1=b"z" * 32)
