"""DNS records of a sending domain: SPF, DKIM, DMARC. Mailbox providers reject mail without them.

SPF: RFC 7208. DKIM: RFC 6376, under the two selectors SendGrid's domain authentication makes. DMARC: RFC 7489.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dns.exception
import dns.resolver

SELECTORS = ("s1", "s2")
RESERVED = (".example", ".test", ".invalid", ".localhost", ".local")  # RFC 2606, RFC 6761: not registrable
QUERY_SECONDS = 5.0  # per DNS query


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The result for one record. `fine` is None when the lookup failed."""

    name: str
    fine: bool | None
    text: str


def is_real(domain: str) -> bool:
    """Tell whether a domain can have DNS records."""
    return "." in domain and not f".{domain}".endswith(
        (*RESERVED, ".example.com", ".example.org", ".example.net")
    )


def look_up(domain: str, *, resolver: dns.resolver.Resolver | None = None) -> list[Record]:
    """Look up all three records; at most five queries of five seconds."""
    resolver = resolver or dns.resolver.Resolver()
    resolver.lifetime = QUERY_SECONDS
    return [*_spf(resolver, domain), *_dkim(resolver, domain), *_dmarc(resolver, domain)]


def _texts(resolver: dns.resolver.Resolver, name: str) -> list[str] | None:
    """Return the TXT records of a name, or None when the lookup failed."""
    try:
        found = resolver.resolve(name, "TXT")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException:
        return None
    return [b"".join(row.strings).decode("ascii", "replace") for row in found]


def _spf(resolver: dns.resolver.Resolver, domain: str) -> Iterator[Record]:
    texts = _texts(resolver, domain)
    if texts is None:
        yield Record(name="SPF", fine=None, text=f"DNS lookup for {domain} failed.")
        return
    found = [text for text in texts if text.lower().split(" ")[0] == "v=spf1"]
    if len(found) > 1:
        yield Record(
            name="SPF",
            fine=False,
            text=f"{domain} has {len(found)} SPF records; more than one counts as none.",
        )
    elif not found:
        yield Record(
            name="SPF", fine=False, text=f"{domain} has no SPF record (a TXT that begins with v=spf1)."
        )
    elif found[0].lower().rstrip().endswith("+all"):
        yield Record(
            name="SPF", fine=False, text=f"The SPF record of {domain} lets anyone send in its name (+all)."
        )
    else:
        yield Record(name="SPF", fine=True, text=f"{domain} has an SPF record.")


def _dkim(resolver: dns.resolver.Resolver, domain: str) -> Iterator[Record]:
    answers = {selector: _texts(resolver, f"{selector}._domainkey.{domain}") for selector in SELECTORS}
    keys = [selector for selector, texts in answers.items() if any(map(_holds_key, texts or ()))]
    if keys:
        yield Record(name="DKIM", fine=True, text=f"{domain} has a DKIM key ({', '.join(keys)}).")
    elif None in answers.values():
        yield Record(name="DKIM", fine=None, text=f"DNS lookup for {domain} failed.")
    else:
        where = " or ".join(f"{selector}._domainkey.{domain}" for selector in SELECTORS)
        yield Record(
            name="DKIM",
            fine=False,
            text=f"There is no DKIM key at {where}: authenticate the domain at SendGrid.",
        )


def _holds_key(text: str) -> bool:
    """Tell whether a DKIM record has a public key; an empty one (`p=`) is a revoked key."""
    return "p=" in text and not text.rstrip().endswith("p=")


def _dmarc(resolver: dns.resolver.Resolver, domain: str) -> Iterator[Record]:
    """Yield the record of the domain, else of its parent, which holds for subdomains."""
    for name in (domain, domain.partition(".")[2]):
        texts = _texts(resolver, f"_dmarc.{name}") if "." in name else []
        if texts is None:
            yield Record(name="DMARC", fine=None, text=f"DNS lookup for _dmarc.{name} failed.")
            return
        if any(text.lower().replace(" ", "").startswith("v=dmarc1") for text in texts):
            yield Record(name="DMARC", fine=True, text=f"{name} has a DMARC record.")
            return
    text = f"{domain} has no DMARC record (a TXT at _dmarc.{domain} that begins with v=DMARC1)."
    yield Record(name="DMARC", fine=False, text=text)
