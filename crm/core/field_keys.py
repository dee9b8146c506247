"""Field encryption keys: AES-256-GCM for single fields, HMAC-SHA256 for blind indexes to find them by.

The key of the indexes never changes: the index of an address that an erased person asked us not to write to cannot be
made anew. It stands apart in INDEX_KEY, so that every key that encrypts can be replaced and retired; without INDEX_KEY
it is derived from the last of FIELD_KEYS.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class CannotDecrypt(Exception):
    """The value was encrypted with a key that is not configured, or was changed."""


class FieldKeys:
    """The keyring of one app. The first key encrypts, all decrypt; `index_key` makes the blind indexes."""

    def __init__(self, keys: Sequence[tuple[str, bytes]], *, index_key: bytes | None = None) -> None:
        self._keys = {key_id.encode(): AESGCM(key) for key_id, key in keys}
        self._first = keys[0][0].encode()
        self.index_key = index_key or hmac.digest(keys[-1][1], b"blind index", hashlib.sha256)

    @property
    def prefix(self) -> bytes:
        """How everything begins that the newest key encrypted."""
        return bytes([len(self._first)]) + self._first

    def encrypt(self, plain: bytes) -> bytes:
        """Return length of the key id, key id, nonce (12 bytes), ciphertext with tag."""
        return self._seal(plain, os.urandom(12))

    def encrypt_again(self, sealed: bytes) -> bytes:
        """Return sealed bytes encrypted with the newest key. Raises CannotDecrypt.

        Equal bytes give equal bytes (the nonce is made of them), so that a row still equals the image an undo compares.
        """
        nonce = hmac.digest(self.index_key, b"again\0" + self._first + sealed, hashlib.sha256)[:12]
        return self._seal(self.decrypt(sealed), nonce)

    def _seal(self, plain: bytes, nonce: bytes) -> bytes:
        first = self._first
        return bytes([len(first)]) + first + nonce + self._keys[first].encrypt(nonce, plain, first)

    def decrypt(self, sealed: bytes) -> bytes:
        """Return the plain bytes that `encrypt` was given, with whichever key it used. Raises CannotDecrypt."""
        size = sealed[0]
        key_id, nonce, rest = sealed[1 : 1 + size], sealed[1 + size : 13 + size], sealed[13 + size :]
        try:
            return self._keys[key_id].decrypt(nonce, rest, key_id)
        except (KeyError, InvalidTag) as error:
            raise CannotDecrypt("FIELD_KEYS has no key for a stored field.") from error

    def blind_index(self, kind: str, normalized: str) -> bytes:
        """Return 32 bytes that are equal for equal values of one kind and reveal nothing else about them."""
        return hmac.digest(self.index_key, f"{kind}\0{normalized}".encode(), hashlib.sha256)
