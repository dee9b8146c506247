"""Signed, single-purpose links. A token names a row by its id and nothing else about it.

Layout: base64url of purpose (1 byte), key number (1 byte), id (8 bytes), serial (4 bytes), MAC (16 bytes; see
`crm.core.link_keys`), then one fixed letter. A token holds no personal data, needs no look-up and is compared in
constant time; old keys keep old links valid.
"""

from collections.abc import Iterable
from enum import IntEnum

from crm.core import current
from crm.core.errors import NotFound


class Purpose(IntEnum):
    """What a link opens. A token of one purpose is invalid for another."""

    CONFIRM = 1
    UNSUBSCRIBE = 2
    PREFERENCES = 3
    STATUS = 4
    SIGN_IN = 5
    DOWNLOAD = 6
    PORTAL_SIGN_IN = 7
    PRACTICE = 8
    CALENDAR = 9
    OWN_DATA = 10
    ANSWER = 11


def sign(purpose: Purpose, row_id: int, *, serial: int = 0) -> str:
    """Return the token for one row. `serial`: readers that compare it can void earlier tokens of the same row."""
    return sign_many(purpose, [row_id], serial=serial)[0]


def sign_many(purpose: Purpose, row_ids: Iterable[int], *, serial: int = 0) -> list[str]:
    """Return the token of each row, in their order."""
    return current.services().link_keys.sign_many(purpose, row_ids, serial=serial)


def read(purpose: Purpose, token: str) -> tuple[int, int]:
    """Return (row id, serial) of a token made for `purpose`. Raises NotFound for anything else."""
    found = current.services().link_keys.read(purpose, token)
    if found is None:
        raise NotFound("This link is not valid. Please use the newest email you have from us.")
    return found
