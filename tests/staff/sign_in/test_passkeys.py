"""Passkeys of staff: added from the account page, sign in without a password, confirm sensitive steps."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core.db import db, transaction
from crm.staff import service
from crm.staff.models import StaffPasskey
from tests.staff.sign_in.conftest import is_in, password
from tests.support.browser_client import BrowserClient, member
from tests.support.passkeys import ORIGIN, Device


@pytest.fixture
def named(database, redis):
    """The app under a name, as passkeys need it."""
    was = database.settings
    database.settings = replace(was, public_url=ORIGIN)
    yield database
    database.settings = was


def options(visitor, address):
    answer = visitor.post(f"{address}/challenge")
    assert answer.status_code == 200
    return answer.json


def add(visitor, device):
    visitor.get("/console/account")
    made = device.make(options(visitor, "/console/account/passkeys"))
    return visitor.post("/console/account/passkeys", {"passkey": made, "name": "My phone"})


def try_in(visitor, device):
    visitor.get("/login")
    used = device.use(options(visitor, "/sign-in/passkey"))
    return visitor.post("/sign-in/passkey", {"credential": used})


@pytest.fixture
def device(named, ana, visitor):
    """Her phone; she is signed in beside it."""
    password(visitor)
    device = Device()
    assert add(visitor, device).status_code == 303
    return device


def test_a_passkey_signs_in_without_a_second_step(named, ana, device, phone, sent):
    visitor = BrowserClient(named)
    assert try_in(visitor, device).location == "/console/"
    assert is_in(visitor)
    assert "My phone" in visitor.get("/console/account").text
    assert "A passkey was added to your account" in sent()
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "staff.sign_in")).all()[-1]
    assert entry.detail == {"via": "passkey"}


def test_a_stolen_handle_or_a_closed_account_stays_out(named, ana, device):
    stolen = BrowserClient(named)
    assert try_in(stolen, replace(device, handle=b"another")).location == "/login"
    assert not is_in(stolen)
    member("admin")
    with transaction():
        service.disable(user_id=ana.id)
    closed = BrowserClient(named)
    try_in(closed, device)
    assert not is_in(closed)
    reasons = select(AuditEntry.detail).where(AuditEntry.action == "staff.passkey_refused")
    assert [detail["why"] for detail in db.session.scalars(reasons)] == ["handle", "closed"]


def test_a_passkey_confirms_a_sensitive_step(clock, named, ana, device, visitor):
    clock.shift(400)
    passkey = db.session.scalars(select(StaffPasskey)).one()
    address = f"/console/account/passkeys/{passkey.id}/remove"
    visitor.get("/console/account")
    assert visitor.post(address).status_code == 401
    used = device.use(options(visitor, "/sign-in/passkey"))
    assert visitor.post(address, {"credential": used}).status_code == 303
    assert db.session.scalars(select(StaffPasskey)).all() == []


def test_the_passkey_of_another_confirms_nothing(clock, named, ana, device):
    other = BrowserClient(named).sign_in(member("admin"))
    other.get("/console/staff")
    clock.shift(400)
    used = device.use(options(other, "/sign-in/passkey"))
    answer = other.post(f"/console/staff/{ana.id}/disable", {"credential": used})
    assert answer.status_code == 401
    assert ana.active
