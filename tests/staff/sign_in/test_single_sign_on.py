"""Single sign-on against a real OpenID provider on this machine."""

import socket
import subprocess
import sys
import time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core.config import ConfigError, SingleSignOn, _sso
from crm.core.db import db, transaction
from crm.staff import service
from crm.staff.models import StaffIdentity
from crm.staff.sign_in import oidc_client, single_sign_on
from tests.staff.sign_in.conftest import is_in
from tests.support.browser_client import BrowserClient, member

ANA = {"email": "ana@clinic.example", "email_verified": True, "name": "Ana Ruiz", "groups": ["nurses"]}


@pytest.fixture(scope="module")
def provider():
    """The address of an OpenID provider that asks for a nonce."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "-p", str(port), "-n", "true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            requests.get(f"{address}/jwks", timeout=5)
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    yield address
    process.kill()
    process.wait()


@pytest.fixture
def settings_of(provider, client, database):
    """Call it with changes of the settings to get the app with single sign-on."""
    was = database.settings

    def make(**changes):
        sso = SingleSignOn(
            **{
                "issuer": provider, "client_id": "crm", "client_secret": "s3cret", "name": "Example", "roles": {},
                "domains": frozenset({"clinic.example"}), "create_accounts": False, "has_two_steps": False,
            }
            | changes
        )  # fmt: skip
        database.settings = replace(was, sso=sso, public_url="http://localhost")
        oidc_client.init_single_sign_on(database, sso)
        return database

    yield make
    database.settings = was
    oidc_client.init_single_sign_on(database, None)


def person(provider, subject="u1", **claims):
    requests.put(f"{provider}/users/{subject}", json=ANA | claims, timeout=5).raise_for_status()
    return subject


def go(visitor, subject):
    """Press the button, sign in at the provider, come back."""
    asked = visitor.get("/sign-in/sso")
    assert asked.status_code == 302
    answer = requests.post(asked.location, data={"sub": subject}, allow_redirects=False, timeout=5)
    back = urlsplit(answer.headers["Location"])
    return asked.location, visitor.get(f"{back.path}?{back.query}")


def refusals():
    query = select(AuditEntry.detail).where(AuditEntry.action == "staff.sso_refused").order_by(AuditEntry.id)
    return [detail["why"] for detail in db.session.scalars(query)]


def test_a_known_person_signs_in_and_is_connected(provider, settings_of, ana, sent):
    visitor = BrowserClient(settings_of())
    assert "Sign in with Example" in visitor.get("/login").text
    asked, answer = go(visitor, person(provider))
    query = parse_qs(urlsplit(asked).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == ["http://localhost/sign-in/sso/answer"]
    assert query.keys() >= {"state", "nonce", "code_challenge"}
    assert answer.location == "/console/"
    assert is_in(visitor)
    assert db.session.scalars(select(StaffIdentity.subject)).all() == ["u1"]
    assert sent()[-1] == "Your account was connected to single sign-on"
    assert db.session.scalars(select(AuditEntry).where(AuditEntry.action == "staff.sign_in")).all()[
        -1
    ].detail == {"via": "sso"}


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"email_verified": False}, "email not verified"),
        ({"email": "ana@clinic.example.evil.example"}, "domain"),
        ({"hd": "evil.example"}, "domain"),
        ({"email": "new@clinic.example"}, "no account"),
        ({"email": None}, "email not verified"),
    ],
)
def test_who_stays_out(provider, settings_of, ana, claims, why):
    visitor = BrowserClient(settings_of())
    _, answer = go(visitor, person(provider, "stranger", **claims))
    assert answer.location == "/login"
    assert not is_in(visitor)
    assert refusals() == [why]


def test_an_address_that_changed_hands_opens_nothing(provider, settings_of, ana):
    app = settings_of()
    go(BrowserClient(app), person(provider))
    visitor = BrowserClient(app)
    go(visitor, person(provider, "u2"))
    assert not is_in(visitor)
    assert refusals() == ["another subject"]
    moved = BrowserClient(app)
    go(moved, person(provider, email="renamed@clinic.example"))  # the same person with a new address
    assert is_in(moved)


def test_a_closed_account_stays_closed(provider, settings_of, ana):
    app = settings_of()
    member("admin")
    with transaction():
        service.disable(user_id=ana.id)
    go(BrowserClient(app), person(provider))
    assert refusals() == ["closed"]


def test_roles_follow_groups_and_accounts_are_made(provider, settings_of, ana):
    app = settings_of(roles={"nurses": "clinician", "desk": "front_desk"}, create_accounts=True)
    visitor = BrowserClient(app)
    go(visitor, person(provider, "u3", email="nina@clinic.example", name="Nina"))
    assert is_in(visitor)
    nina = service.by_email("nina@clinic.example")
    assert (nina.name, {role.name for role in nina.roles}) == ("Nina", {"clinician"})
    go(BrowserClient(app), person(provider, "u3", email="nina@clinic.example", groups=["desk"]))
    db.session.refresh(nina)
    assert {role.name for role in nina.roles} == {"front_desk"}
    go(BrowserClient(app), person(provider, "u3", email="nina@clinic.example", groups=["other"]))
    assert refusals() == ["no group"]


def test_an_answer_fits_one_browser_and_one_time(provider, settings_of, ana):
    app = settings_of()
    visitor, other = BrowserClient(app), BrowserClient(app)
    asked = visitor.get("/sign-in/sso").location
    answer = requests.post(asked, data={"sub": person(provider)}, allow_redirects=False, timeout=5)
    back = urlsplit(answer.headers["Location"])
    address = f"{back.path}?{back.query}"
    other.get("/sign-in/sso")
    assert other.get(address).location == "/login"  # a forged answer (CSRF): another state
    assert not is_in(other)
    assert visitor.get(address).location == "/console/"
    visitor.post("/logout")
    assert visitor.get(address).location == "/login"
    assert refusals() == ["not proved", "not proved"]


@pytest.mark.filterwarnings("ignore:Passing SelectField choices as tuples")
@pytest.mark.parametrize(
    ("claims", "asks"), [({}, True), ({"amr": ["pwd", "mfa"]}, False), ({"amr": ["pwd"]}, True)]
)
def test_the_second_step_is_asked_unless_the_provider_did(provider, settings_of, ana, phone, claims, asks):
    visitor = BrowserClient(settings_of())
    _, answer = go(visitor, person(provider, **claims))
    assert (("/tf-validate" in answer.location), is_in(visitor)) == (asks, not asks)


def test_the_answer_must_be_of_the_issuer(provider, settings_of, ana):
    app = settings_of()
    assert single_sign_on.has_two_steps({}, settings=replace(app.settings.sso, has_two_steps=True))
    app.settings = replace(app.settings, sso=replace(app.settings.sso, issuer="https://login.example"))
    visitor = BrowserClient(app)
    go(visitor, person(provider))
    assert refusals() == ["issuer"]


def test_a_provider_that_does_not_answer_is_a_refusal(settings_of, ana):
    visitor = BrowserClient(settings_of(issuer="http://localhost:9"))
    assert visitor.get("/sign-in/sso").location == "/login"
    assert refusals() == ["unreachable"]


def test_without_a_provider_the_page_is_not_found(client):
    assert client.get("/sign-in/sso").status_code == 404


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, "OIDC_CLIENT_ID is missing"),
        ({"OIDC_ISSUER": "http://login.example"}, "must start with https"),
        ({"OIDC_ROLES": "nurses=nobody"}, "OIDC_ROLES must be"),
        ({"OIDC_CREATE_ACCOUNTS": "1"}, "needs OIDC_ROLES"),
    ],
)
def test_incomplete_settings_are_named(given, wrong):
    with pytest.raises(ConfigError, match=wrong):
        _sso({"OIDC_ISSUER": "https://login.example"} | given)
