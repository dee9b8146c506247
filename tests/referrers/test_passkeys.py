"""Passkeys of the portal."""

import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core.db import db, transaction
from crm.core.tokens import Purpose, sign
from crm.privacy import service as privacy
from crm.referrers import accounts
from crm.referrers import service as referrers
from crm.referrers.models import Passkey
from crm.referrers.service import Sender
from crm.staff import rules
from crm.staff.sign_in import passkeys
from tests.support import factories as support_factories
from tests.support.browser_client import BrowserClient
from tests.support.passkeys import ORIGIN, Device, data

NPIS = ("1234567893", "1558598797")


def practice_person(number=0):
    with transaction():
        sender = Sender(clinician="Dr. Ada North", npi=NPIS[number], practice=f"Clinic {number}")
        practice_id = referrers.find_or_create(sender=sender).practice_id
        email, zone = f"nurse{number}@north.example", "America/Los_Angeles"
        return accounts.invite(practice_id=practice_id, name="Nina Nurse", email=email, zone=zone)


def enter(app, person):
    visitor = BrowserClient(app)
    with transaction():
        token = sign(Purpose.PORTAL_SIGN_IN, accounts.make_link(person))
    visitor.get(f"/refer/in/{token}")
    assert visitor.post(f"/refer/in/{token}").status_code == 303
    assert visitor.get("/refer/account/").status_code == 200
    return visitor


@pytest.fixture
def named(database, redis):
    """The app under a name, as passkeys need it."""
    was = database.settings
    database.settings = replace(was, public_url=ORIGIN)
    yield database
    database.settings = was


@pytest.fixture
def nurse(named):
    with transaction():
        support_factories.shipped()
    return practice_person()


def options(visitor, address):
    answer = visitor.post(f"{address}/challenge")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    return answer.json


def add(visitor, device, **form):
    made = device.make(options(visitor, "/refer/account/passkeys"))
    return visitor.post("/refer/account/passkeys", {"credential": made, "name": "My phone", **form})


def stranger(app):
    visitor = BrowserClient(app)
    visitor.get("/refer/sign-in")
    return visitor


def try_in(visitor, device):
    used = device.use(options(visitor, "/refer/sign-in/passkey"))
    return visitor.post("/refer/sign-in/passkey", {"credential": used})


def kept():
    return db.session.scalars(select(Passkey).order_by(Passkey.id)).all()


def why():
    """Why the last try was refused, as the audit log has it."""
    query = (
        select(AuditEntry).where(AuditEntry.action == "portal.passkey_refused").order_by(AuditEntry.id.desc())
    )
    return db.session.scalars(query).first().detail["why"]


@pytest.fixture
def device(named, nurse):
    """A phone whose passkey is known."""
    device = Device()
    assert add(enter(named, nurse), device).status_code == 303
    return device


def test_a_passkey_is_added_and_signs_in(named, nurse, device):
    (passkey,) = kept()
    assert (passkey.name, passkey.person_id, passkey.last_used_at) == ("My phone", nurse.id, None)
    phone = stranger(named)
    answer = try_in(phone, device)
    assert (answer.status_code, answer.location) == (303, "/refer/")
    page = phone.get("/refer/account/").text
    assert "My phone" in page
    assert "Nina Nurse" in page
    db.session.refresh(passkey)
    assert passkey.sign_count == device.count == 2
    assert passkey.last_used_at is not None
    actions = db.session.scalars(select(AuditEntry.action)).all()
    assert {"portal.passkey_add", "portal.sign_in"} <= set(actions)


def test_what_browsers_are_asked_for(named, nurse, device):
    adding = options(enter(named, nurse), "/refer/account/passkeys")
    assert adding["rp"]["id"] == "crm.clinic.example"
    assert adding["authenticatorSelection"]["userVerification"] == "required"
    assert adding["authenticatorSelection"]["residentKey"] == "required"
    assert [data(one["id"]) for one in adding["excludeCredentials"]] == [device.credential_id]
    signing = options(stranger(named), "/refer/sign-in/passkey")
    assert signing["userVerification"] == "required"
    assert signing["allowCredentials"] == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"origin": "https://crm.clinic.example.evil.example"}, "unproved"),
        ({"verified": False}, "unproved"),
        ({"count": 0}, "unproved"),  # 1 again, as when the passkey was added: the counter has not grown
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "unproved"),
        ({"credential_id": b"\x08" * 32}, "unknown"),
        ({"handle": b"somebody else"}, "handle"),
        ({"handle": b""}, "handle"),
    ],
)
def test_what_does_not_sign_in(named, device, changes, code):
    phone = stranger(named)
    answer = try_in(phone, replace(device, **changes))
    assert answer.status_code == 422
    assert "does not sign you in" in answer.text
    assert why() == code
    assert phone.get("/refer/").status_code == 302


@pytest.mark.parametrize("changes", [{"origin": "https://evil.example"}, {"verified": False}])
def test_what_is_not_added(named, nurse, changes):
    assert add(enter(named, nurse), Device(**changes)).status_code == 422
    assert why() == "unproved"
    assert kept() == []


@pytest.mark.parametrize("junk", ["", "[]", "null", '{"id": 1}', "{" * 5000, "\x00"])
def test_junk_is_refused(named, nurse, junk):
    phone = enter(named, nurse)
    options(phone, "/refer/account/passkeys")
    assert phone.post("/refer/account/passkeys", {"credential": junk}).status_code == 422
    options(phone, "/refer/sign-in/passkey")
    assert phone.post("/refer/sign-in/passkey", {"credential": junk}).status_code == 422


def test_a_challenge_is_good_once_even_with_an_old_cookie(named, device):
    phone = stranger(named)
    used = device.use(options(phone, "/refer/sign-in/passkey"))
    cookie = phone.client.get_cookie("session").value
    assert phone.post("/refer/sign-in/passkey", {"credential": used}).status_code == 303
    phone.client.set_cookie("session", cookie)
    passkey = kept()[0]
    with transaction():
        passkey.sign_count = 0  # so that it is the challenge that refuses
    assert phone.post("/refer/sign-in/passkey", {"credential": used}).status_code == 422
    assert why() == "challenge"


def test_a_failed_try_spends_the_challenge(named, device):
    phone = stranger(named)
    asked = options(phone, "/refer/sign-in/passkey")
    cookie = phone.client.get_cookie("session").value
    assert phone.post("/refer/sign-in/passkey", {"credential": "{}"}).status_code == 422
    phone.client.set_cookie("session", cookie)
    assert phone.post("/refer/sign-in/passkey", {"credential": device.use(asked)}).status_code == 422
    assert why() == "challenge"


def test_a_challenge_lasts_five_minutes(named, device, redis):
    phone = stranger(named)
    used = device.use(options(phone, "/refer/sign-in/passkey"))
    (key,) = redis.keys("passkey:*")
    assert 290 < redis.ttl(key) <= 300
    redis.pexpireat(key, 1)  # Redis has its own clock: let it be over
    assert phone.post("/refer/sign-in/passkey", {"credential": used}).status_code == 422
    assert why() == "challenge"


def test_a_challenge_is_for_one_browser_and_one_purpose(named, nurse, device):
    asked = options(stranger(named), "/refer/sign-in/passkey")
    other = stranger(named)
    options(other, "/refer/sign-in/passkey")
    assert other.post("/refer/sign-in/passkey", {"credential": device.use(asked)}).status_code == 422
    mine = enter(named, nurse)
    asked = options(mine, "/refer/account/passkeys")
    used = device.use({"challenge": asked["challenge"], "rpId": asked["rp"]["id"]})
    assert mine.post("/refer/sign-in/passkey", {"credential": used}).status_code == 422
    assert why() == "challenge"


def test_a_closed_account_is_not_signed_in(named, nurse, device):
    with transaction():
        accounts.close(nurse.id)
    assert try_in(stranger(named), device).status_code == 422
    assert why() == "closed"


def test_an_erasure_takes_passkeys_along(named, nurse, device):
    with transaction():
        accounts.close(nurse.id)
        privacy.erase(contact_id=nurse.contact_id, reason="asked")
    assert kept() == []


def test_a_passkey_is_removed_by_its_owner_alone(named, nurse, device):
    (passkey,) = kept()
    address = f"/refer/account/passkeys/{passkey.id}/remove"
    assert enter(named, practice_person(1)).post(address).status_code == 404
    assert kept() == [passkey]
    assert enter(named, nurse).post(address).status_code == 303
    assert kept() == []
    assert try_in(stranger(named), device).status_code == 422
    assert why() == "unknown"


def test_a_passkey_is_added_once_and_not_without_end(named, nurse, device, monkeypatch):
    mine = enter(named, nurse)
    assert add(mine, device).status_code == 422
    monkeypatch.setattr(passkeys, "MOST", 2)
    assert add(mine, Device(credential_id=b"\x09" * 16), name=" ").status_code == 303
    assert add(mine, Device(credential_id=b"\x0a" * 16)).status_code == 422
    assert [one.name for one in kept()] == ["My phone", "Passkey"]


@pytest.mark.parametrize("address", ["/refer/sign-in/passkey", "/refer/sign-in/passkey/challenge"])
def test_forms_need_their_token(named, address):
    assert BrowserClient(named).post(address).status_code == 400


def test_trying_is_limited_by_network_address(named):
    phone = stranger(named)
    answers = [phone.post("/refer/sign-in/passkey/challenge").status_code for _ in range(21)]
    assert answers == [200] * 20 + [429]


def test_where_the_host_is_a_number_there_are_no_passkeys(named):
    named.settings = replace(named.settings, public_url="http://127.0.0.1:8000")
    visitor = BrowserClient(named)
    assert "data-passkey" not in visitor.get("/refer/sign-in").text
    assert visitor.post("/refer/sign-in/passkey/challenge").status_code == 404


def test_pages_offer_passkeys_in_spanish_too(named):
    page = stranger(named).get("/refer/sign-in?lang=es").text
    assert re.search(rf'data-origin="{ORIGIN}" hidden', page)
    assert "Entrar con una llave de acceso" in page


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://crm.clinic.example", ("crm.clinic.example", "https://crm.clinic.example")),
        ("https://CRM.clinic.example:443/", ("crm.clinic.example", "https://crm.clinic.example")),
        ("https://crm.clinic.example:8443", ("crm.clinic.example", "https://crm.clinic.example:8443")),
        ("http://localhost:8000", ("localhost", "http://localhost:8000")),
        ("http://localhost", ("localhost", "http://localhost")),
        ("http://crm.clinic.example", None),
        ("http://127.0.0.1:8000", None),
        ("https://192.0.2.7", None),
        ("https://[2001:db8::1]", None),
        ("", None),
    ],
)
def test_what_passkeys_are_bound_to(url, site):
    found = rules.passkey_site(url)
    assert (found and (found.name, found.origin)) == site
