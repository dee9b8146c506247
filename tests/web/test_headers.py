"""Response headers and caching."""

from dataclasses import replace

import pytest

from crm.app import create_app

PAGES = [
    "/login",
    "/health/live",
    "/static/css/app.css",
    "/nothing-here",
    "/api/v1/nothing",
    "/console/leads",
]


@pytest.mark.parametrize("address", PAGES)
def test_every_answer_is_protected(client, address):
    with client.get(address) as answer:
        headers = answer.headers
    csp = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert csp["default-src"] == "'self'"
    assert csp["object-src"] == csp["base-uri"] == csp["frame-ancestors"] == "'none'"
    assert csp["form-action"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "Strict-Transport-Security" not in headers  # this machine speaks plain HTTP


@pytest.mark.parametrize("address", [address for address in PAGES if "static" not in address])
def test_pages_are_kept_by_nobody(client, address):
    assert client.get(address).headers["Cache-Control"] == "no-store"


def test_versioned_static_files_are_cached(client):
    page = client.get("/login").text
    address = next(part for part in page.split('"') if part.startswith("/static/css/app.css"))
    assert "?v=" in address
    for asked, kept in (
        (address, "public, max-age=31536000, immutable"),
        ("/static/css/app.css", "public, no-cache"),
    ):
        with client.get(asked) as answer:
            assert answer.headers["Cache-Control"] == kept


@pytest.mark.parametrize("address", ["/logout", "/refer/sign-out"])
def test_signing_out_clears_what_the_browser_kept(client, address):
    client.get("/login")
    answers = [client.get(address), client.post(address)]
    assert any(answer.headers.get("Clear-Site-Data") == '"cache", "storage"' for answer in answers)


def test_strict_transport_security(settings, database):
    app = create_app(replace(settings, public_url="https://crm.clinic.example"))
    app.testing = True
    answer = app.test_client().get("/login", base_url="https://crm.clinic.example")
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
