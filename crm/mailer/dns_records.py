"""What a sending domain says about itself in the DNS: SPF, DKIM, DMARC. Mailbox providers turn mail away without them.

SPF: RFC 7208. DKIM: RFC 6376, under the two selectors SendGrid's domain authentication makes. DMARC: RFC 7489.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dns.exception
import dns.resolver

SELECTORS = ("s1", "s2")
RESERVED = (".example", ".test", ".invalid", ".localhost", ".local")  # RFC 2606, RFC 6761: nobody's
PATIENCE = 5.0  # seconds for one question


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing a domain should say. `fine` is None when nobody could be asked."""

    name: str
    fine: bool | None
    text: str


def is_real(domain: str) -> bool:
    """Tell whether a domain can have records at all."""
    return "." in domain and not f".{domain}".endswith(
        (*RESERVED, ".example.com", ".example.org", ".example.net")
    )


def look_up(domain: str, *, resolver: dns.resolver.Resolver | None = None) -> list[Record]:
    """Ask for all three; at most four questions of five seconds."""
    asked = resolver or dns.resolver.Resolver()
    asked.lifetime = PATIENCE
    return [*_spf(asked, domain), *_dkim(asked, domain), *_dmarc(asked, domain)]


def _texts(resolver: dns.resolver.Resolver, name: str) -> list[str] | None:
    """Return the texts at a name, none where there are none; None when nobody answered."""
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
        yield Record(name="SPF", fine=None, text=f"{domain} could not be asked.")
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
            name="SPF", fine=False, text=f"The SPF record of {domain} lets everybody send in its name (+all)."
        )
    else:
        yield Record(name="SPF", fine=True, text=f"{domain} has an SPF record.")


def _dkim(resolver: dns.resolver.Resolver, domain: str) -> Iterator[Record]:
    answers = {selector: _texts(resolver, f"{selector}._domainkey.{domain}") for selector in SELECTORS}
    keys = [
        s
        for s, texts in answers.items()
        if any("p=" in text and not text.rstrip().endswith("p=") for text in texts or ())
    ]
    if keys:
        yield Record(name="DKIM", fine=True, text=f"{domain} has a DKIM key ({', '.join(keys)}).")
    elif any(texts is None for texts in answers.values()):
        yield Record(name="DKIM", fine=None, text=f"{domain} could not be asked.")
    else:
        where = " or ".join(f"{selector}._domainkey.{domain}" for selector in SELECTORS)
        yield Record(
            name="DKIM",
            fine=False,
            text=f"There is no DKIM key at {where}: authenticate the domain at SendGrid.",
        )


def _dmarc(resolver: dns.resolver.Resolver, domain: str) -> Iterator[Record]:
    """The record of the domain itself, else of the one above it, which holds for its subdomains."""
    for name in (domain, domain.partition(".")[2]):
        texts = _texts(resolver, f"_dmarc.{name}") if "." in name else []
        if texts is None:
            yield Record(name="DMARC", fine=None, text=f"_dmarc.{name} could not be asked.")
            return
        if any(text.lower().replace(" ", "").startswith("v=dmarc1") for text in texts):
            yield Record(name="DMARC", fine=True, text=f"{name} has a DMARC record.")
            return
    text = f"{domain} has no DMARC record (a TXT at _dmarc.{domain} that begins with v=DMARC1)."
    yield Record(name="DMARC", fine=False, text=text)
