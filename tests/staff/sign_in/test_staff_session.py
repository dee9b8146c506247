"""Sessions of staff: seen and ended by their owner, marked when another person requested the link, asked again in time."""

import pytest
from sqlalchemy import select

from crm.audit import service as audit
from crm.audit.models import AuditEntry
from crm.core.db import db, transaction
from crm.staff import service
from crm.staff.models import StaffSession
from crm.staff.sign_in import own_sessions, staff_session
from tests.staff.sign_in.conftest import PASSWORD, is_in, password
from tests.support.browser_client import BrowserClient, member

pytestmark = pytest.mark.filterwarnings("ignore:Passing SelectField choices as tuples")

FRESH = """
    console.staff.invite console.staff.make_link console.staff.roles console.staff.disable console.staff.enable
    console.staff.remove_two_step console.staff.set_password console.exports.create console.privacy.erase
    console.clinic.save console.api_keys.create console.api_keys.revoke console.person_copy.download
    console.retention.save console.retention.lift_hold
    console.own_sign_in.add_passkey console.own_sign_in.remove_passkey
""".split()  # noqa: SIM905


def test_sensitive_acts_ask_again(app):
    fresh = {name for name, view in app.view_functions.items() if getattr(view, "fresh", False)}
    assert fresh >= set(FRESH)
    for name in fresh:
        rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint == name]
        assert all("GET" not in rule.methods for rule in rules), name


@pytest.fixture
def boss(client, database, clock):
    """An administrator with a password, who signed in six minutes ago."""
    user = member("admin", email="boss@clinic.example")
    with transaction():
        service.set_password(user=user, password=PASSWORD)
    visitor = BrowserClient(database)
    password(visitor, email=user.email)
    visitor.get("/console/staff")
    clock.shift(360)
    return visitor


def test_what_was_typed_is_done_after_the_password(boss, ana):
    address = f"/console/staff/{ana.id}/roles"
    asked = boss.post(address, {"roles": ["viewer", "clinician"]})
    assert asked.status_code == 401
    assert 'name="roles" value="clinician"' in asked.text
    wrong = boss.post(address, {"roles": ["viewer", "clinician"], "confirm_password": "no"})
    assert (wrong.status_code, "not your password" in wrong.text) == (401, True)
    assert {role.name for role in ana.roles} == {"marketer"}
    done = boss.post(address, {"roles": ["viewer", "clinician"], "confirm_password": PASSWORD})
    assert done.status_code == 302
    db.session.refresh(ana)
    assert {role.name for role in ana.roles} == {"viewer", "clinician"}
    assert boss.post(address, {"roles": ["viewer"]}).status_code == 302  # five minutes begin anew


def test_verify_leads_on_within_the_site(boss):
    boss.get("/verify?next=/tf-setup")
    answer = boss.post("/verify?next=/tf-setup", {"confirm_password": PASSWORD})
    assert (answer.status_code, answer.location) == (302, "/tf-setup")
    for evil in ("//evil.example", "https://evil.example", "/\\evil.example"):
        answer = boss.post("/verify", {"confirm_password": PASSWORD}, query_string={"next": evil})
        assert answer.location == "/console/"


def test_setting_up_a_second_factor_asks_again(boss):
    assert boss.get("/tf-setup").location.startswith("/verify?next=")
    assert boss.get("/mf-recovery-codes").location.startswith("/verify?next=")


def test_own_sessions_are_listed_and_ended(ana, visitor, database):
    password(visitor)
    other = BrowserClient(database)
    other.get("/login")
    agent = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0"}
    other.post("/login", {"email": ana.email, "password": PASSWORD}, headers=agent)
    page = visitor.get("/console/account").text
    assert "Firefox on Windows" in page
    theirs = max(row.id for row in own_sessions.of(ana.id))
    assert visitor.post(f"/console/account/sessions/{theirs}/end").status_code == 303
    assert other.get("/console/account", headers=agent).status_code == 302
    assert is_in(visitor)
    third = BrowserClient(database)
    password(third)
    visitor.get("/console/account")
    assert visitor.post("/console/account/sessions/end-others").status_code == 303
    assert (is_in(third), is_in(visitor)) == (False, True)


def test_another_persons_session_is_not_found(ana, visitor, boss):
    password(visitor)
    mine = own_sessions.of(ana.id)[0].id
    boss.get("/console/account")
    assert boss.post(f"/console/account/sessions/{mine}/end").status_code == 404
    assert is_in(visitor)


def test_a_session_by_anothers_link_is_marked_and_approves_nothing(ana, database):
    with transaction(), audit.acting("staff:99"):
        token = service.sign_in_link(user=ana)
    visitor = BrowserClient(database)
    visitor.get(f"/sign-in/{token}")
    visitor.post(f"/sign-in/{token}")
    visitor.get("/console/account")
    assert visitor.post("/console/content/versions/999999/approve").status_code == 403
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "staff.sign_in")).one()
    assert entry.detail == {"via": "link", "begun_by": "staff:99"}
    visitor.post(
        "/console/account/password", {"current": PASSWORD, "password": "tulip bridge forty"}
    )  # a new password does not wash the mark away
    assert visitor.post("/console/content/versions/999999/approve").status_code == 403
    password(visitor, "tulip bridge forty")
    db.session.expire_all()
    assert [row.begun_by for row in db.session.scalars(select(StaffSession).order_by(StaffSession.id))] == [
        "staff:99", "staff:99",
    ]  # fmt: skip


def test_a_link_goes_to_the_mailbox_and_its_session_is_the_owners(ana, visitor, mailed):
    visitor.get("/sign-in/link")
    known = visitor.post("/sign-in/link", {"email": " ANA@clinic.example "})
    unknown = visitor.post("/sign-in/link", {"email": "nobody@clinic.example"})
    assert known.text == unknown.text
    (token,) = mailed()
    visitor.get(f"/sign-in/{token}")
    assert visitor.post(f"/sign-in/{token}").status_code == 302
    visitor.get("/console/account")
    assert visitor.post("/console/content/versions/999999/approve").status_code != 403


@pytest.fixture
def mailed():
    """Call it to see the sign-in links on their way to mailboxes."""
    from sqlalchemy import text

    from crm.core import tokens
    from crm.core.tokens import Purpose

    def look():
        rows = db.session.execute(text("select params from message order by id"))
        links = [row.params["links"]["staff_signin_url"] for row in rows if "links" in row.params]
        return [tokens.sign(Purpose.SIGN_IN, link) for link in links]

    return look


def test_owners_hear_of_what_happens_to_their_account(ana, sent):
    with transaction():
        service.set_roles(user_id=ana.id, roles=["viewer"])
        service.remove_two_step(user_id=ana.id)
        service.disable(user_id=ana.id)
    assert sent() == [
        "Your password was changed",
        "The roles of your account were changed",
        "The authenticator app was removed from your account",
        "Your account was closed",
    ]


def test_the_time_to_ask_again_is_five_minutes():
    assert staff_session.FRESH == 300
