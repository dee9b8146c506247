"""NPI format check, and the site that passkeys are bound to."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

_PREFIX_SUM = 24  # what the card-issuer prefix 80840 adds to the Luhn sum


def is_npi_format(text: str) -> bool:
    """Tell whether `text` is formed like an NPI. A format check: it does not prove that the number was issued.

    Ten digits, the first 1 or 2, and a Luhn check digit over the number with 80840 before it
    (45 CFR 162.406; CMS, "NPI: Requirements for the check digit").

    >>> is_npi_format("1234567893"), is_npi_format("1234567890")
    (True, False)
    """
    if len(text) != 10 or not (text.isascii() and text.isdigit()) or text[0] not in "12":
        return False
    digits = [int(digit) for digit in text]
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return (_PREFIX_SUM + sum(doubled) + sum(digits[-1::-2])) % 10 == 0


@dataclass(frozen=True, kw_only=True)
class Site:
    """What passkeys are bound to: the host's name, and the origin (scheme, host, port) browsers report."""

    name: str
    origin: str


def passkey_site(public_url: str) -> Site | None:
    """Return the site that passkeys of an installation are bound to; None if there can be none.

    They need a host with a name, not a number, and HTTPS unless the name is localhost
    (W3C, "Web Authentication: Level 2", sections 5.1.3 and 13.4.9; "Secure Contexts", section 3.1).

    >>> passkey_site("http://localhost:8000")
    Site(name='localhost', origin='http://localhost:8000')
    >>> passkey_site("http://127.0.0.1:8000") is None
    True
    """
    parts = urlsplit(public_url)
    name = parts.hostname or ""
    if not name or _is_number(name) or (parts.scheme != "https" and name != "localhost"):
        return None
    usual = {"https": 443, "http": 80}[parts.scheme]
    port = f":{parts.port}" if parts.port not in (None, usual) else ""
    return Site(name=name, origin=f"{parts.scheme}://{name}{port}")


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
