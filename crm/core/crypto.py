"""Encryption of single fields and blind indexes, with the field keys of the running app."""

from crm.core import current


def encrypt(plain: bytes) -> bytes:
    """Return `plain` encrypted with the newest field key (AES-256-GCM, key id inside)."""
    return current.services().field_keys.encrypt(plain)


def decrypt(sealed: bytes) -> bytes:
    """Return the plain bytes that `encrypt` was given. Raises CannotDecrypt."""
    return current.services().field_keys.decrypt(sealed)


def blind_index(kind: str, normalized: str) -> bytes:
    """Return 32 bytes that are equal for equal values of one kind and reveal nothing else about them."""
    return current.services().field_keys.blind_index(kind, normalized)
