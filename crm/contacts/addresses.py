"""One address, many spellings: the form by which an address is known to us, and its blind index.

A stop must hold for the mailbox, not for the spelling somebody typed. So `Jane+News@Example.org` and
`jane@example.org` are one address here, and for Gmail, which ignores dots and has two names, `j.a.ne@googlemail.com`
and `jane@gmail.com` are one (https://support.google.com/mail/answer/7436150; subaddressing: RFC 5233).
Mail still goes to the spelling the person gave; only the index is made from this form.
"""

import unicodedata

from crm.core import crypto

_GMAIL = frozenset({"gmail.com", "googlemail.com"})


def canonical(email: str) -> str:
    """Return the one spelling that stands for all spellings of a mailbox. Takes any text, never fails."""
    plain = unicodedata.normalize("NFKC", email).strip().lower()
    local, at, domain = plain.rpartition("@")
    if not at:
        return plain
    domain = _ascii(domain.rstrip("."))
    local = local.partition("+")[0] or local
    if domain in _GMAIL:
        domain, local = "gmail.com", local.replace(".", "") or local
    return f"{local}@{domain}"


def address_index(email: str) -> bytes:
    """Return the blind index (32 bytes) of the mailbox behind `email`."""
    return crypto.blind_index("email", canonical(email))


def _ascii(domain: str) -> str:
    """The domain as it goes over the wire: a name in other letters has exactly one such form."""
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain
