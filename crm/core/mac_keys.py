"""Keys for message authentication codes: they prove that this service wrote something. HMAC-SHA256."""

import hashlib
import hmac
from collections.abc import Sequence


class MacKeys:
    """The keys of one app: the first signs, all verify."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        self._keys = [key for _, key in keys]

    def sign(self, message: bytes) -> bytes:
        """Return the code of a message: 32 bytes."""
        return hmac.digest(self._keys[0], message, hashlib.sha256)

    def signatures(self, message: bytes) -> list[bytes]:
        """Return the code of a message by each key."""
        return [hmac.digest(key, message, hashlib.sha256) for key in self._keys]
