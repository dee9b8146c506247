"""Signed, single-purpose links. A token names a row by its id and nothing else about it.

Layout: base64url of purpose (1 byte), key number (1 byte), id (8 bytes), serial (4 bytes), MAC (16 bytes: AES-256-CMAC,
NIST SP 800-38B). No personal data, nothing to look up, constant-time check; old keys keep old links alive, and so do
those of earlier releases, whose MAC is the first 16 bytes of HMAC-SHA256.

What is signed is always 14 bytes, less than one block of the cipher, so that the links of a thousand people are one call
of it: a third of what a thousand HMACs take, in a place where nothing else costs as much.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from crm.core.errors import NotFound

_HEAD = struct.Struct(">BBqI")
_MAC = _BLOCK = 16
_LENGTH = (_HEAD.size + _MAC) // 3 * 4  # characters
_PADDING = b"\x80".ljust(_BLOCK - _HEAD.size, b"\0")


class Purpose(IntEnum):
    """What a link is good for; a token of one purpose is nothing for another."""

    CONFIRM = 1
    UNSUBSCRIBE = 2
    PREFERENCES = 3
    STATUS = 4
    SIGN_IN = 5
    DOWNLOAD = 6
    PORTAL_SIGN_IN = 7
    PRACTICE = 8


@dataclass(frozen=True)
class _Key:
    """One secret: its number in tokens, the key of the cipher, the mask of an incomplete block, and the older key."""

    number: int
    cipher: Cipher[modes.ECB]
    mask: bytes
    hmac: bytes

    def macs(self, heads: Sequence[bytes]) -> bytes:
        """Return the MACs of many heads, one after the other."""
        size = len(heads) * _BLOCK
        padded = int.from_bytes(_PADDING.join((*heads, b"")))
        return self._encrypt((padded ^ int.from_bytes(self.mask * len(heads))).to_bytes(size))

    def wrote(self, head: bytes, mac: bytes) -> bool:
        """Tell whether this key made the MAC, now or in an earlier release."""
        older = hmac.digest(self.hmac, head, "sha256")[:_MAC]
        return hmac.compare_digest(self.macs([head]), mac) | hmac.compare_digest(older, mac)

    def _encrypt(self, blocks: bytes) -> bytes:
        return self.cipher.encryptor().update(blocks)


_keys: list[_Key] = []


def use_keys(secrets: Sequence[str]) -> None:
    """Set the signing keys: the first signs, all verify."""
    _keys[:] = [_key(secret.encode()) for secret in secrets]


def _key(secret: bytes) -> _Key:
    older = hashlib.sha256(b"link token\0" + secret).digest()
    key = hashlib.sha256(b"link token, AES-CMAC\0" + secret).digest()
    cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - single blocks under CMAC's mask, nothing is hidden
    mask = _doubled(_doubled(cipher.encryptor().update(bytes(_BLOCK))))
    return _Key(older[0], cipher, mask, older)


def _doubled(block: bytes) -> bytes:
    """Return twice the block in the field that CMAC derives its masks in (SP 800-38B, section 6.1)."""
    twice = int.from_bytes(block) << 1
    return (twice ^ (1 << 128 | 0x87) if twice >> 128 else twice).to_bytes(_BLOCK)


def sign(purpose: Purpose, row_id: int, *, serial: int = 0) -> str:
    """Return the token for one row; `serial` makes earlier tokens of the same row void where the reader asks."""
    return sign_many(purpose, [row_id], serial=serial)[0]


def sign_many(purpose: Purpose, row_ids: Iterable[int], *, serial: int = 0) -> list[str]:
    """Return the token of each row, in their order.

    One encoding for all, too: a token is a whole number of base64's groups of three bytes.
    """
    key, pack, given = _keys[0], _HEAD.pack, int(purpose)
    heads = [pack(given, key.number, row_id, serial) for row_id in row_ids]
    macs = key.macs(heads)
    raw = b"".join(
        [head + macs[at : at + _MAC] for head, at in zip(heads, range(0, len(macs), _MAC), strict=True)]
    )
    text = base64.urlsafe_b64encode(raw).decode()
    return [text[at : at + _LENGTH] for at in range(0, len(text), _LENGTH)]


def read(purpose: Purpose, token: str) -> tuple[int, int]:
    """Return (row id, serial) of a token made for `purpose`. Raises NotFound for anything else."""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    if len(raw) == _HEAD.size + _MAC:
        head, mac = raw[: _HEAD.size], raw[_HEAD.size :]
        found, number, row_id, serial = _HEAD.unpack(head)
        for key in _keys:
            if key.number == number and key.wrote(head, mac):
                if found == purpose:
                    return row_id, serial
                break
    raise NotFound("This link is not valid. Please use the newest email you have from us.")
