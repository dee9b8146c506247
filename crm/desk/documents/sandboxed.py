"""Responses that hold a file of a stranger: shown only inside a sandbox, or kept as a file; never as a page of ours."""

from flask import Response

CSP = "sandbox; default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"


def sandboxed(content: bytes, *, kind: str, name: str, download: bool) -> Response:
    """Return a file whose scripts do not run and whose type is not guessed (nosniff, which every response has)."""
    answer = Response(content)
    answer.headers["Content-Type"] = kind
    answer.headers["Content-Security-Policy"] = CSP
    answer.headers["X-Frame-Options"] = "SAMEORIGIN"
    how = "attachment" if download else "inline"
    answer.headers.set("Content-Disposition", how, filename=name.encode("ascii", "ignore").decode() or "file")
    return answer
