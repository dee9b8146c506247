"""Encryption of single fields, and blind indexes to find them by. Keys live outside the database."""

import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_keys: dict[bytes, AESGCM] = {}
_first: bytes = b""
_index_key: bytes = b""


class CannotDecrypt(Exception):
    """The value was made with a key we do not have, or was changed."""


def use_keys(keys: Sequence[tuple[str, bytes]]) -> None:
    """Set the keyring. The first key encrypts; all decrypt; the last makes the blind indexes and must be kept."""
    global _first, _index_key
    _keys.clear()
    _keys.update({key_id.encode(): AESGCM(key) for key_id, key in keys})
    _first = keys[0][0].encode()
    _index_key = hmac.digest(keys[-1][1], b"blind index", hashlib.sha256)


def encrypt(plain: bytes) -> bytes:
    """Return length-of-key-id, key id, nonce (12 bytes), ciphertext with tag (AES-256-GCM)."""
    nonce = os.urandom(12)
    return bytes([len(_first)]) + _first + nonce + _keys[_first].encrypt(nonce, plain, _first)


def decrypt(sealed: bytes) -> bytes:
    """Undo `encrypt`, with whichever key made it. Raises CannotDecrypt."""
    size = sealed[0]
    key_id, nonce, rest = sealed[1 : 1 + size], sealed[1 + size : 13 + size], sealed[13 + size :]
    try:
        return _keys[key_id].decrypt(nonce, rest, key_id)
    except (KeyError, InvalidTag) as error:
        raise CannotDecrypt("A stored field cannot be read with the keys at hand.") from error


def blind_index(kind: str, normalised: str) -> bytes:
    """Return 32 bytes that are equal for equal values of one kind and say nothing else about them."""
    return hmac.digest(_index_key, f"{kind}\0{normalised}".encode(), hashlib.sha256)
