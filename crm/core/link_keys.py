"""Link signing keys: the MACs of our links, many at a time.

The MAC is AES-256-CMAC (NIST SP 800-38B). What is signed is always 14 bytes, less than one block of the cipher, so the
links of a thousand people are one call of it: a third of the time of a thousand HMACs, and nothing in sending mail
costs as much. Links of earlier releases carry the first 16 bytes of HMAC-SHA256 instead, and stay valid.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_HEAD = struct.Struct(">BBqI")
_MAC = _BLOCK = 16
_LENGTH = (_HEAD.size + _MAC) // 3 * 4  # characters of the signed part
_END = "0"  # ends every token, because mail programs leave a sign at the end out of the link
_AFTER = ".,;:!?)>]}/'\"”’»"  # what mail programs take into the link from the text after it
_PADDING = b"\x80".ljust(_BLOCK - _HEAD.size, b"\0")


@dataclass(frozen=True)
class _Key:
    """One secret: its number in tokens, its cipher, the mask of an incomplete block, and the key of older MACs."""

    number: int
    cipher: Cipher[modes.ECB]
    mask: bytes
    hmac: bytes

    def macs(self, heads: Sequence[bytes]) -> bytes:
        """Return the MACs of many heads, joined in their order."""
        size = len(heads) * _BLOCK
        padded = int.from_bytes(_PADDING.join((*heads, b"")))
        return self._encrypt((padded ^ int.from_bytes(self.mask * len(heads))).to_bytes(size))

    def signed(self, head: bytes, mac: bytes) -> bool:
        """Tell whether this key made the MAC, in this or an earlier release."""
        older = hmac.digest(self.hmac, head, "sha256")[:_MAC]
        return hmac.compare_digest(self.macs([head]), mac) | hmac.compare_digest(older, mac)

    def _encrypt(self, blocks: bytes) -> bytes:
        return self.cipher.encryptor().update(blocks)


class LinkKeys:
    """The signing keys of one app: the first signs, all verify."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [_key(secret.encode()) for secret in secrets]

    def sign_many(self, purpose: int, row_ids: Iterable[int], *, serial: int) -> list[str]:
        """Return the token of each row, in their order.

        All are encoded in one call, too: a token is a whole number of base64's groups of three bytes.
        """
        key, pack, given = self._keys[0], _HEAD.pack, int(purpose)
        heads = [pack(given, key.number, row_id, serial) for row_id in row_ids]
        macs = key.macs(heads)
        raw = b"".join(
            [head + macs[at : at + _MAC] for head, at in zip(heads, range(0, len(macs), _MAC), strict=True)]
        )
        text = base64.urlsafe_b64encode(raw).decode()
        return [text[at : at + _LENGTH] + _END for at in range(0, len(text), _LENGTH)]

    def read(self, purpose: int, token: str) -> tuple[int, int] | None:
        """Return (row id, serial) of a token that one of the keys signed for `purpose`; None for any other text.

        One sign after the token is passed over. Links of earlier releases lack the last letter.
        """
        if token and token[-1] in _AFTER:
            token = token[:-1]
        if len(token) == _LENGTH + len(_END):
            token = token.removesuffix(_END)
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
        if len(raw) != _HEAD.size + _MAC:
            return None
        head, mac = raw[: _HEAD.size], raw[_HEAD.size :]
        found, number, row_id, serial = _HEAD.unpack(head)
        if not any(key.number == number and key.signed(head, mac) for key in self._keys):
            return None
        return (row_id, serial) if found == purpose else None


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
