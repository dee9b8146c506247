"""Access: every address and every role open exactly what the table says."""

import re

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core.db import db
from crm.staff import access
from crm.web import access_guard
from tests.support.browser_client import BrowserClient, member

PARTS = {"reference": "C-222222", "stream": "none", "filename": "x", "token": "x"}


def console(app):
    """(method, address, permission) of every endpoint that asks for one."""
    found = []
    for rule in app.url_map.iter_rules():
        kind = access_guard.kind_of(app, rule.endpoint)
        if kind in access.PERMISSIONS:
            chosen = re.sub(r"<any\((\w+)[^)]*\):\w+>", r"\1", rule.rule)
            address = re.sub(r"<(?:\w+:)?(\w+)>", lambda part: PARTS.get(part[1], "999999"), chosen)
            found += [(method, address, kind) for method in sorted(rule.methods - {"HEAD", "OPTIONS"})]
    return found


def test_there_is_something_to_check(app):
    assert len(console(app)) > 30


@pytest.mark.parametrize("role", access.ROLES)
def test_each_role_opens_its_pages_only(client, database, role):
    """Allowed is whatever is not refused: nothing to see (404) or nothing to do (409, 422) is past the guard."""
    visitor = BrowserClient(database).sign_in(member(role))
    visitor.get("/console/account")
    wrong = []
    for method, address, permission in console(database):
        answer = visitor.get(address) if method == "GET" else visitor.post(address)
        if (answer.status_code == 403) is access.has_permission([role], permission):
            wrong.append((method, address, permission, answer.status_code))
    assert wrong == []


def test_without_sign_in_pages_lead_to_sign_in(client, database):
    visitor = BrowserClient(database)
    visitor.get("/login")
    for method, address, _ in console(database):
        answer = visitor.get(address) if method == "GET" else visitor.post(address)
        assert (answer.status_code, answer.location.split("?")[0]) == (302, "/login"), address


def test_sign_in_returns_to_the_requested_page(client):
    assert client.get("/console/mail?state=failed").location == "/login?next=/console/mail?state%3Dfailed"


def test_a_refusal_is_in_the_log(client, database):
    visitor = BrowserClient(database).sign_in(member("viewer"))
    visitor.get("/console/staff")
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "access.refused")).one()
    assert entry.detail == {"endpoint": "console.staff.index"}


def test_view_without_permission_is_closed(client, database):
    visitor = BrowserClient(database).sign_in(member("admin"))
    view = database.view_functions["console.staff.index"]
    del view.permission
    try:
        assert visitor.get("/console/staff").status_code == 403
    finally:
        access.require("manage_staff")(view)


def test_unknown_permissions_are_a_mistake():
    with pytest.raises(KeyError):
        access.require("do_anything")
    with pytest.raises(KeyError):
        access.has_permission(["admin"], "do_anything")


@pytest.mark.parametrize(
    ("permission", "roles"),
    [
        ("read_clinical", {"admin", "front_desk", "clinician"}),
        ("stop_sending", {"admin"}),
        ("read_audit", {"admin"}),
        ("manage_staff", {"admin"}),
        ("run_sequences", {"admin", "marketer"}),
        ("work_leads", {"admin", "front_desk", "clinician"}),
    ],
)
def test_who_may_do_what_is_decided_here_too(permission, roles):
    assert {role for role in access.ROLES if access.has_permission([role], permission)} == roles


def test_without_a_session_nobody_is_looked_up(app, client, monkeypatch):
    monkeypatch.setattr(app.login_manager, "_load_user", lambda: pytest.fail("A user was looked up."))
    headers = {"Authentication-Token": "any"}  # the way of Flask-Security, which is closed
    assert client.get("/api/v1/nothing?auth_token=any", headers=headers).status_code == 404
