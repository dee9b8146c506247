"""Diagnostics of the proxies in front: a request through PUBLIC_URL with a made-up address, as an attacker sends it."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException

from crm.core.config import Settings
from crm.ops.findings import Finding

MADE_UP = "198.51.100.77"  # for documentation (RFC 5737): no visitor has it


def findings(settings: Settings) -> Iterator[Finding]:
    """Send the request and judge what arrived. Only in production, where a proxy stands in front."""
    if not settings.production:
        return
    try:
        seen = json.loads(_get(f"{settings.public_url}/health/proxy", settings.metrics_token))
    except (OSError, ValueError, HTTPException) as error:
        words = f"{settings.public_url} cannot be reached from here ({_reason(error)}): check the name, the certificate "
        yield Finding("problem", f"{words}and the proxy.", "proxy")
        return
    if wrong := judge(seen["address"], seen["forwarded"], trusted=settings.trusted_proxies):
        yield Finding("problem", wrong, "proxy")
    if _opens(f"{settings.public_url}/metrics", settings.metrics_token):
        words = "The proxy passes /metrics on to everybody who knows METRICS_TOKEN: close it there, "
        yield Finding("note", f"{words}as docs/deploy/nginx.conf does.", "proxy")


def judge(address: str, forwarded: Sequence[str], *, trusted: int) -> str | None:
    """Return what is wrong with TRUSTED_PROXIES, from the address believed and the chain that arrived; None if nothing is."""
    if address == MADE_UP:
        return (
            f"Visitors can choose the address that limits and the audit log see: TRUSTED_PROXIES is {trusted}, and fewer "
            "proxies write X-Forwarded-For."
        )
    if trusted == 0 and list(forwarded) != [MADE_UP]:
        return "TRUSTED_PROXIES is 0, and a proxy stands in front: all visitors share its address, and its limits."
    if len(forwarded) < trusted:
        return f"TRUSTED_PROXIES is {trusted}, and X-Forwarded-For names {len(forwarded)}: all visitors share a proxy's address."
    return None


def _get(url: str, token: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": MADE_UP}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return bytes(answer.read(100_000))


def _opens(url: str, token: str) -> bool:
    try:
        return bool(_get(url, token))
    except (OSError, HTTPException):
        return False


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"status {error.code}"
    return str(getattr(error, "reason", error)) or type(error).__name__
