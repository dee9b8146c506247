"""Signing in: by password, by link, with a second factor; how it ends, and how guessing gets slow."""

import re
from datetime import timedelta

import pytest
from flask_security import hash_password
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotFound
from crm.staff import service
from crm.staff.models import User
from tests.support import factories
from tests.support.browser_client import BrowserClient, member, signed_in

PASSWORD = "marine haven pebble"


@pytest.fixture
def ana(client) -> User:
    """A marketer with a password."""
    user = member("marketer", email="ana@clinic.example")
    with transaction():
        service.set_password(user=user, password=PASSWORD)
    return user


@pytest.fixture
def visitor(client, database) -> BrowserClient:
    return BrowserClient(database)


def try_in(
    visitor: BrowserClient,
    password: str = PASSWORD,
    *,
    email: str = "ana@clinic.example",
    ip: str = "127.0.0.1",
):
    visitor.get("/login")
    return visitor.post("/login", {"email": email, "password": password}, environ_base={"REMOTE_ADDR": ip})


def is_in(visitor: BrowserClient) -> bool:
    return visitor.get("/console/account").status_code == 200


def actions() -> list[str]:
    return list(db.session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


def test_password_signs_in_and_is_kept_as_argon2(ana, visitor):
    answer = try_in(visitor, email="ANA@clinic.example")
    assert (answer.status_code, answer.location) == (302, "/console/")
    assert is_in(visitor)
    assert ana.password.startswith("$argon2id$")
    assert "staff.sign_in" in actions()


def test_wrong_password_and_unknown_address_are_answered_alike(ana, visitor):
    wrong, unknown = try_in(visitor, "something else!"), try_in(visitor, email="nobody@clinic.example")
    assert wrong.status_code == unknown.status_code == 200
    assert _without_tokens(wrong.text) == _without_tokens(unknown.text).replace("nobody@", "ana@")
    assert actions().count("secret.failed") == 2


def _without_tokens(page: str) -> str:
    return "\n".join(line for line in page.splitlines() if "csrf_token" not in line)


def test_ten_failures_slow_guessing_without_a_lockout(ana, visitor, database, clock):
    for _ in range(10):
        assert "Too many attempts" not in try_in(visitor, "guess").text
    assert "Too many attempts" in try_in(visitor).text  # even with the right password
    assert not is_in(visitor)
    elsewhere = BrowserClient(database)
    assert try_in(elsewhere, ip="203.0.113.9").status_code == 302  # the real owner, from another network
    by_link = BrowserClient(database).sign_in(ana)
    assert is_in(by_link)


def test_unknown_addresses_are_slowed_down_just_the_same(ana, visitor):
    for _ in range(10):
        try_in(visitor, "guess", email="nobody@clinic.example")
    assert "Too many attempts" in try_in(visitor, "guess", email="nobody@clinic.example").text


def test_one_network_address_gets_only_so_many_tries(ana, visitor):
    answers = [try_in(visitor, "guess", email=f"n{number}@clinic.example").text for number in range(31)]
    assert "Too many attempts" not in answers[29]
    assert "Too many attempts" in answers[30]


@pytest.mark.parametrize(("away", "still"), [(14 * 60 + 59, True), (15 * 60, False)])
def test_fifteen_minutes_without_activity_sign_out(ana, visitor, clock, away, still):
    try_in(visitor)
    clock.shift(away)
    assert is_in(visitor) is still


def test_twelve_hours_sign_out_the_busiest(ana, visitor, clock):
    try_in(visitor)
    for _ in range(12 * 6 - 1):
        clock.shift(600)
        assert is_in(visitor)
    clock.shift(600)
    assert not is_in(visitor)


def test_signing_out_ends_copies_of_the_session(ana, visitor, database):
    try_in(visitor)
    copy = BrowserClient(database)
    copy.client.set_cookie("session", visitor.client.get_cookie("session").value)
    assert is_in(copy)
    assert visitor.post("/logout").status_code == 302
    assert not is_in(copy)


def test_a_copied_session_is_worth_nothing_in_another_browser(ana, visitor, database):
    try_in(visitor)
    copy = BrowserClient(database)
    copy.client.set_cookie("session", visitor.client.get_cookie("session").value)
    assert copy.get("/console/account", headers={"User-Agent": "Another"}).status_code == 302
    assert is_in(visitor)


def test_closing_an_account_ends_its_sessions_at_once(ana, visitor, database):
    try_in(visitor)
    with transaction():
        service.disable(user_id=ana.id)
    assert not is_in(visitor)
    assert "too many" not in try_in(visitor).text
    assert not is_in(visitor)


def test_signing_out_needs_the_form_token(ana, visitor):
    try_in(visitor)
    assert visitor.post("/logout", {"csrf_token": "x"}).status_code == 400
    assert is_in(visitor)


def test_a_link_works_once(ana, visitor, database):
    with transaction():
        token = service.sign_in_link(user=ana)
    assert visitor.get(f"/sign-in/{token}").status_code == 200
    assert visitor.get(f"/sign-in/{token}").status_code == 200  # a scanner has looked at it
    assert visitor.post(f"/sign-in/{token}").location == "/console/"
    again = BrowserClient(database)
    assert again.get(f"/sign-in/{token}").status_code == 404
    assert "secret.failed" in actions()
    again.get("/login")
    assert again.post(f"/sign-in/{token}").status_code == 404


def test_a_link_dies_after_fifteen_minutes(ana, visitor, clock):
    with transaction():
        token = service.sign_in_link(user=ana)
    clock.shift(15 * 60)
    assert visitor.get(f"/sign-in/{token}").status_code == 404


def test_a_link_of_a_closed_account_is_void(ana, visitor):
    with transaction():
        token = service.sign_in_link(user=ana, life=timedelta(days=7))
        service.disable(user_id=ana.id)
        service.enable(user_id=ana.id)
    assert visitor.get(f"/sign-in/{token}").status_code == 404


def test_the_invited_choose_a_password_first(client, database):
    user = member("viewer")
    visitor = BrowserClient(database)
    with transaction():
        token = service.sign_in_link(user=user)
    visitor.get(f"/sign-in/{token}")
    assert visitor.post(f"/sign-in/{token}").location == "/console/account"
    visitor.get("/console/account")
    short = visitor.post("/console/account/password", {"password": "short"})
    assert (short.status_code, "at least 12 characters" in short.text) == (422, True)
    assert visitor.post("/console/account/password", {"password": PASSWORD}).status_code == 302
    assert is_in(visitor)


def test_a_new_password_needs_the_old_and_ends_other_sessions(ana, visitor, database):
    try_in(visitor)
    other = BrowserClient(database)
    try_in(other)
    visitor.get("/console/account")
    refused = visitor.post("/console/account/password", {"current": "no", "password": "tulip bridge forty"})
    assert (refused.status_code, "not your current password" in refused.text) == (422, True)
    visitor.post("/console/account/password", {"current": PASSWORD, "password": "tulip bridge forty"})
    assert is_in(visitor)
    assert not is_in(other)


def test_an_unknown_time_zone_is_refused_beside_its_field(ana, visitor):
    try_in(visitor)
    visitor.get("/console/account")
    refused = visitor.post("/console/account/time-zone", {"time_zone": "Etc/GMT+8"})
    assert refused.status_code == 422
    assert "Choose a time zone from the list." in refused.text
    assert visitor.post("/console/account/time-zone", {"time_zone": "Europe/Berlin"}).status_code == 302


@pytest.mark.filterwarnings("ignore:Passing SelectField choices as tuples")  # flask-security's own forms
def test_second_factor_is_set_up_asked_for_and_each_code_is_good_once(ana, visitor, database, clock):
    try_in(visitor)
    visitor.get("/tf-setup")
    page = visitor.post("/tf-setup", {"setup": "authenticator"})
    code = _code(database, re.search(r'id="authr-key"[^>]*>([^<]+)<', page.text)[1])
    state = next(part for part in page.text.split('"') if "/tf-setup/" in part)
    assert visitor.post(state, {"code": code}).status_code == 302
    db.session.refresh(ana)
    assert ana.tf_primary_method == "authenticator"
    fresh = BrowserClient(database)
    assert "/tf-validate" in try_in(fresh).location
    assert not is_in(fresh)
    fresh.get("/tf-validate")
    assert fresh.post("/tf-validate", {"code": code}).status_code == 200  # it was used for the set-up
    clock.shift(30)
    fresh.post("/tf-validate", {"code": _next(database, ana)})
    assert is_in(fresh)


def _code(app, key: str) -> str:
    return app.extensions["security"]._totp_factory._totp(key=key, format="base32").generate().token


def _next(app, user) -> str:
    return app.extensions["security"]._totp_factory._totp.from_source(user.tf_totp_secret).generate().token


def test_sessions_of_people_without_the_console_stay_out(client, database):
    user = member("viewer")
    with transaction():
        user.roles = []
    assert BrowserClient(database).sign_in(user).get("/console/account").status_code == 403


def test_roles_count_at_once(client, database):
    visitor = signed_in(database, "admin")
    member("admin", email="second@clinic.example")
    me = db.session.scalars(select(User).where(User.email == "admin@clinic.example")).one()
    with transaction():
        service.set_roles(user_id=me.id, roles=["viewer"])
    assert not is_in(visitor)
    assert visitor.sign_in(me).get("/console/staff").status_code == 403


def test_the_last_administrator_stays(edge):
    admin = service.create(email="a@clinic.example", name="A", roles=["admin"])
    with pytest.raises(Conflict, match="last administrator"):
        service.disable(user_id=admin.id)
    with pytest.raises(Conflict, match="last administrator"):
        service.set_roles(user_id=admin.id, roles=["viewer"])


def test_nobody_closes_their_own_account(client, database):
    visitor = signed_in(database, "admin")
    member("admin", email="second@clinic.example")
    me = db.session.scalars(select(User.id).where(User.email == "admin@clinic.example")).one()
    visitor.get("/console/staff")
    assert visitor.post(f"/console/staff/{me}/disable").status_code == 409


def test_inviting(client, database):
    visitor = signed_in(database, "admin")
    visitor.get("/console/staff")
    wrong = visitor.post("/console/staff", {"email": "no address", "name": ""})
    assert wrong.status_code == 422
    for field in ("name", "email", "roles"):
        assert f'href="#f-{field}"' in wrong.text
    made = {"email": "New@Clinic.example", "name": "New", "roles": ["viewer"]}
    unsent = visitor.post("/console/staff", made)
    assert (unsent.status_code, "no approved text" in unsent.text) == (409, True)
    with transaction():
        factories.shipped()
    assert visitor.post("/console/staff", made).status_code == 302
    shown = visitor.get("/console/staff").text
    assert "Invitation sent to new@clinic.example" in shown
    assert "/sign-in/" not in shown  # only the owner of the mailbox sees the link
    assert service.by_email("new@clinic.example").roles[0].name == "viewer"
    twice = visitor.post(
        "/console/staff", {"email": "new@clinic.example", "name": "New", "roles": ["viewer"]}
    )
    assert "An account with this address already exists." in twice.text


def test_a_lost_phone(client, database):
    user = member("viewer")
    with transaction():
        user.tf_primary_method, user.tf_totp_secret = "authenticator", "x"
    visitor = signed_in(database, "admin")
    visitor.get("/console/staff")
    visitor.post(f"/console/staff/{user.id}/second-factor")
    db.session.refresh(user)
    assert (user.tf_primary_method, user.tf_totp_secret) == (None, None)


def test_commands(database, client):
    run = database.test_cli_runner().invoke
    made = run(args=["staff", "create", "cli@clinic.example", "--role", "viewer", "--role", "marketer"])
    assert "/sign-in/" in made.output
    assert "already exists" in run(args=["staff", "create", "cli@clinic.example", "--role", "viewer"]).output
    assert "/sign-in/" in run(args=["staff", "sign-in-link", "CLI@clinic.example"]).output
    assert run(args=["staff", "sign-in-link", "nobody@clinic.example"]).exit_code == 1
    assert "marketer, viewer" in run(args=["staff", "list"]).output
    assert run(args=["staff", "disable", "cli@clinic.example"]).exit_code == 0
    assert "closed" in run(args=["staff", "list"]).output


def test_unknown_people_and_zones_are_refused(edge):
    with pytest.raises(NotFound):
        service.get(999)
    with pytest.raises(Invalid):
        service.set_time_zone(user=User(email="a@b.example", name="A"), zone="Mars/Olympus")


def test_old_hashes_keep_working(ana, visitor):
    with transaction():
        ana.password = hash_password(PASSWORD)
    assert try_in(visitor).status_code == 302
