"""Response headers: content security policy, framing, caching, referrer; and versioned addresses of static files."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request

YEAR = 365 * 24 * 3600
SIGN_OUTS = ("security.logout", "refer.sign_out")  # what a browser kept of the pages goes, too

# Images as data: URLs are Bootstrap's icons in its style sheet, and the QR code of two-step sign-in.
CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
ALWAYS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def init_headers(app: Flask, *, https: bool) -> None:
    """Set the headers of every response of `app`."""

    wanted = ALWAYS | ({"Strict-Transport-Security": f"max-age={YEAR}; includeSubDomains"} if https else {})
    always = [(name.lower(), name, value) for name, value in wanted.items()]

    def finish(response: Response) -> Response:
        present = {name.lower() for name, _ in response.headers}
        for key, name, value in always:
            if key not in present:
                response.headers.add(name, value)
        if request.endpoint in SIGN_OUTS:
            response.headers["Clear-Site-Data"] = '"cache", "storage"'
        _cache(response)
        return response

    app.after_request(finish)
    app.url_defaults(_add_version)


def _cache(response: Response) -> None:
    if request.endpoint not in ("static", "bootstrap.static"):
        response.headers["Cache-Control"] = "no-store"
    elif "v" in request.args and response.status_code == 200:
        response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    else:
        response.headers["Cache-Control"] = "public, no-cache"


def _add_version(endpoint: str, values: dict[str, Any]) -> None:
    """Add the content's hash to a static address, so that a new file has a new address."""
    if endpoint == "static" and "filename" in values and current_app.static_folder:
        path = Path(current_app.static_folder) / str(values["filename"])
        if path.is_file():
            values["v"] = _hash(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _hash(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
