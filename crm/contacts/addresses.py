"""Email address normalization and blind index.

A suppression must hold for the mailbox, not for one spelling of it. So `Jane+News@Example.org` and `jane@example.org`
are the same address here. Gmail ignores dots and has two domain names, so `j.a.ne@googlemail.com` and
`jane@gmail.com` are the same too (https://support.google.com/mail/answer/7436150; subaddressing: RFC 5233).
Email still goes to the spelling the person gave; only the index uses the normalized form.
"""

import unicodedata

from crm.core import crypto

_GMAIL = frozenset({"gmail.com", "googlemail.com"})


def canonical(email: str) -> str:
    """Return the normalized spelling of a mailbox. Accepts any text and never fails."""
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
    """Return the ASCII (IDNA) form of a domain: an internationalized name has exactly one."""
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain
