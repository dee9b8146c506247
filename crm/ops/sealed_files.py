"""Encrypted files of any size: AES-256-GCM over pieces of a mebibyte.

Each piece's nonce holds its number and whether it is the last, so that a file that was cut off, or whose pieces were moved,
is refused.
"""

import os
from collections.abc import Iterator, Mapping
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"CRMBACKUP1"
PIECE = 1 << 20
TAG = 16
SALT = 7  # bytes; with the number (4) and the mark of the last piece (1) a nonce


class BrokenFile(Exception):
    """The file is no backup, was changed or cut off, or its key is missing."""


def seal(source: IO[bytes], target: IO[bytes], *, key_id: str, key: bytes) -> None:
    """Write what `source` holds to `target`, encrypted."""
    salt, name = os.urandom(SALT), key_id.encode()
    header = MAGIC + bytes([len(name)]) + name + salt
    target.write(header)
    for number, (piece, is_last) in enumerate(_pieces(source, PIECE)):
        target.write(AESGCM(key).encrypt(_nonce(salt, number, is_last=is_last), piece, header))


def unseal(source: IO[bytes], *, keys: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield what was sealed, each piece once it is verified. Raises BrokenFile."""
    head = source.read(len(MAGIC) + 1)
    if len(head) <= len(MAGIC) or not head.startswith(MAGIC):
        raise BrokenFile("This file is no backup of this service.")
    name, salt = source.read(head[-1]), source.read(SALT)
    key = keys.get(name.decode(errors="replace"))
    if key is None or len(salt) < SALT:
        raise BrokenFile("BACKUP_KEYS has no key for this file, or it was cut off.")
    for number, (piece, is_last) in enumerate(_pieces(source, PIECE + TAG)):
        try:
            yield AESGCM(key).decrypt(_nonce(salt, number, is_last=is_last), piece, head + name + salt)
        except InvalidTag as error:
            raise BrokenFile("The file was changed or cut off.") from error


def _pieces(source: IO[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    piece = source.read(size)
    while True:
        following = source.read(size)
        yield piece, not following
        if not following:
            return
        piece = following


def _nonce(salt: bytes, number: int, *, is_last: bool) -> bytes:
    return salt + number.to_bytes(4) + bytes([is_last])
