"""Error pages: a status and a sentence for the reader, without technical detail."""

from dataclasses import replace

import pytest
from flask import Blueprint
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from structlog.testing import capture_logs
from werkzeug.exceptions import BadRequest

from crm.app import create_app
from crm.core import current
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound, TooMany
from tests.support.browser_client import signed_in

RAISED = {
    "not-found": (NotFound("There is no such lead."), 404, "not_found"),
    "conflict": (Conflict("Somebody was quicker."), 409, "conflict"),
    "not-allowed": (NotAllowed("Not for you."), 403, "not_allowed"),
    "invalid": (Invalid({"email": ["Wrong."]}), 422, "invalid"),
    "too-many": (TooMany("Too often.", retry_after=7), 429, "too_many"),
    "bad": (BadRequest(), 400, "malformed"),
    "clash": (
        IntegrityError("insert into contact values ('ana@example.com')", {}, Exception("secret")),
        409,
        "conflict",
    ),
    "stale": (StaleDataError("secret"), 409, "conflict"),
    "bug": (RuntimeError("secret ana@example.com"), 500, "error"),
}


@pytest.fixture
def told():
    """What is logged, before anything is scrubbed from it."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture(scope="module")
def failing(settings):
    """The app with pages and API addresses that fail in every way."""
    app = create_app(replace(settings))
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False
    for name, prefix in (("fails", "/fails"), ("fails-api", "/api/v1/fails")):
        broken = Blueprint(name, __name__, url_prefix=prefix)
        broken.add_url_rule("/<kind>/<token>", "fail", _fail)
        app._got_first_request = False
        app.register_blueprint(broken)
        app.extensions["public_blueprints"] |= {name}
    return app.test_client()


def _fail(kind: str, token: str):
    raise RAISED[kind][0]


@pytest.mark.parametrize("kind", RAISED)
def test_people_get_a_page(failing, kind, redis, told):
    error, status, _ = RAISED[kind]
    answer = failing.get(f"/fails/{kind}/token-in-the-address")
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert "secret" not in answer.text
    assert "ana@example.com" not in answer.text
    if isinstance(error, NotFound | Conflict | NotAllowed):
        assert error.message in answer.text
    assert told[-1]["rule"] == "/fails/<kind>/<token>"
    for private in ("secret", "ana@example.com", "token-in-the-address"):
        assert private not in str(told)


@pytest.mark.parametrize("kind", RAISED)
def test_machines_get_one_shape(failing, kind, redis):
    error, status, code = RAISED[kind]
    answer = failing.get(f"/api/v1/fails/{kind}/x")
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"code", "message", "fields"}
    assert answer.json["error"]["code"] == code
    assert answer.json["error"]["fields"] == getattr(error, "fields", {})
    assert "secret" not in answer.text
    if status == 429:
        assert answer.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/no-such-page", 404),
        ("DELETE", "/login", 405),
        ("GET", "/api/v1/none", 404),
        ("PUT", "/api/v1/referrals", 405),
    ],
)
def test_addresses_and_methods(client, method, address, status):
    assert client.open(address, method=method).status_code == status


def test_form_without_token_is_refused(client):
    answer = client.post("/login", data={"email": "a@b.example", "password": "x"})
    assert answer.status_code == 400
    assert "load it again" in answer.text


def test_a_body_that_is_too_long(client):
    assert (
        client.post(
            "/contact", data=b"x" * (1024 * 1024 + 1), content_type="application/x-www-form-urlencoded"
        ).status_code
        == 413
    )


@pytest.mark.parametrize("language", ["en", "es"])
def test_pages_speak_the_readers_language(client, language):
    answer = client.get("/no-such-page", headers={"Accept-Language": language})
    assert f'<html lang="{language}">' in answer.text


def test_health(client):
    assert client.get("/health/live").json == {"status": "alive"}
    assert client.get("/health/ready").json == {"status": "ready", "database": "ok", "redis": "ok"}


def test_not_ready(client, database, redis):
    from sqlalchemy import text

    from crm.core.db import db

    db.session.execute(text("update alembic_version set version_num = '0001'"))
    db.session.commit()
    current.services().redis = type(redis).from_url("redis://127.0.0.1:1")
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json) == (
        503,
        {"status": "not ready", "database": "behind", "redis": "unreachable"},
    )


def test_the_request_log_holds_no_address(client, told):
    client.get("/c/some-token-in-the-address?email=ana@example.com")
    assert [line["rule"] for line in told if line["event"] == "request"] == ["/c/<token>"]
    assert "some-token" not in str(told)
    assert "ana@" not in str(told)


@pytest.mark.parametrize(
    ("address", "status"),
    [("/console/nowhere", 404), ("/console/leads/999999", 404), ("/console/staff", 403)],
)
def test_errors_of_staff_stay_in_the_console(database, redis, address, status):
    answer = signed_in(database, "front_desk").get(address)
    assert answer.status_code == status
    assert 'class="sidenav"' in answer.text


def test_visitors_see_no_console(client):
    assert 'class="sidenav"' not in client.get("/console/nowhere").text
