"""What is believed of the proxies in front: the visitor's address from as many of them as are trusted, and nothing else."""

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

UNREADABLE = "unreadable"


def address_of(text: str) -> str:
    """Return the IP address in one element of X-Forwarded-For in its one form; "unreadable" when there is none.

    Proxies write "203.0.113.7", "203.0.113.7:4711", "[2001:db8::7]:4711", "unknown" or a name (RFC 7239, section 6).
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return UNREADABLE
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


class TrustedProxies:
    """WSGI middleware: take the visitor's address and the scheme from trusted proxies, and pin the host to `public_url`.

    `hops` proxies stand in front. No host that a header names is believed: links in emails and pages would lead where
    the sender of the header wants (host header injection).
    """

    def __init__(self, app: "WSGIApplication", *, hops: int, public_url: str) -> None:
        self._app = ProxyFix(app, x_for=hops, x_proto=hops, x_host=0) if hops else app
        public = urlsplit(public_url)
        self._pinned = {
            "HTTP_HOST": public.netloc,
            "SERVER_NAME": public.hostname or "",
            "SERVER_PORT": str(public.port or 443),
            "wsgi.url_scheme": public.scheme,
            "HTTP_X_FORWARDED_PROTO": public.scheme,
        }

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ.update(self._pinned)
        if forwarded := environ.get("HTTP_X_FORWARDED_FOR"):
            environ["HTTP_X_FORWARDED_FOR"] = ",".join(map(address_of, forwarded.split(",")))
        if environ.get("REMOTE_ADDR"):
            environ["REMOTE_ADDR"] = address_of(environ["REMOTE_ADDR"])
        return self._app(environ, start_response)
