"""Record scope and identity: role x route x object. Whose lead is out of scope meets it nowhere; whose work needs no
names reads none.
"""

import re

import pytest
from sqlalchemy import select

from crm.consultations import service as consultations
from crm.core.db import db, transaction
from crm.leads import crisis, service
from crm.leads.models import Lead
from crm.staff import access
from crm.staff import service as staff
from crm.web import access_guard
from tests.desk.test_console_work import new_lead
from tests.support.browser_client import BrowserClient, member

LIMITED = [role for role in access.ROLES if role != "admin"]
NAMELESS = [role for role in access.ROLES if not access.has_permission([role], "see_identity")]
CANARIES = ("Quillon", "Zzyzx", "quillon@example.org", "213-555-0199", "(213) 555-0199", "+12135550199")
OF_LEAD = {"reference", "contact_id", "task_id", "consultation_id"}
OTHERS = {"stream": "none", "filename": "x", "token": "x", "kind": "x"}


@pytest.fixture
def house(client, database, clock):
    """A lead of a colleague, with a person nobody else knows, a task, and a consultation."""
    owner = member("front_desk", email="owner@clinic.example", name="Olga Owner")
    lead = new_lead(
        7, first_name="Quillon", last_name="Zzyzx", email="quillon@example.org", phone="+12135550199"
    )
    with transaction():
        service.assign(lead_id=lead.id, version=lead.version, owner_id=owner.id)
        task = service.add_task(
            lead_id=lead.id, kind="other", title="Zzyzx wants a letter", due_at=lead.created_at
        )
        visit = consultations.book(
            lead_id=lead.id, version=service.get(lead.id).version, starts_at=lead.created_at.replace(day=5),
            confirmed=True,
        )  # fmt: skip
    parts = {
        "reference": lead.reference, "contact_id": lead.contact_id, "task_id": task.id, "consultation_id": visit.id,
    }  # fmt: skip
    return database, lead.id, parts


def reader(app, role, scope, *, team=None) -> BrowserClient:
    with transaction():
        staff.set_scope(role=role, scope=scope)
    user = member(role, email=f"reader-{role}@clinic.example")
    with transaction():
        staff.set_team(user_id=user.id, team=team or "")
    visitor = BrowserClient(app).sign_in(user)
    visitor.get("/console/account")
    return visitor


def routes(app, parts):
    """(method, address, whether it names the lead, permission) of every console route."""
    for rule in app.url_map.iter_rules():
        kind = access_guard.kind_of(app, rule.endpoint)
        if kind not in access.PERMISSIONS or not rule.rule.startswith("/console"):
            continue
        chosen = re.sub(r"<any\((\w+)[^)]*\):\w+>", r"\1", rule.rule)
        address = re.sub(
            r"<(?:\w+:)?(\w+)>", lambda part: str({**OTHERS, **parts}.get(part[1], "999999")), chosen
        )
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield method, address, bool(rule.arguments & OF_LEAD), kind


@pytest.mark.parametrize(
    ("role", "scope"), [("front_desk", "own"), ("clinician", "team"), ("marketer", "own"), ("viewer", "team")]
)
def test_lead_out_of_scope_is_found_nowhere(house, role, scope):
    app, lead_id, parts = house
    visitor, wrong = reader(app, role, scope, team="South"), list[object]()
    version = db.session.get_one(Lead, lead_id).version
    for method, address, names_lead, permission in routes(app, parts):
        if not access.has_permission([role], permission) or not (names_lead or method == "GET"):
            continue
        answer = visitor.get(address) if method == "GET" else visitor.post(address)
        if names_lead and answer.status_code != 404:
            wrong.append((method, address, answer.status_code))
        wrong += [(address, word) for word in (*CANARIES, parts["reference"]) if word in answer.text]
    for query in ("Zzyzx", parts["reference"], "quillon@example.org"):
        for page in ("/console/leads/search", "/console/leads", "/console/contacts"):
            shown = visitor.get(f"{page}?q={query}").text
            wrong += [(page, word) for word in CANARIES[2:] if word != query and word in shown]
    assert wrong == []
    assert db.session.get_one(Lead, lead_id, populate_existing=True).version == version


@pytest.mark.parametrize(
    ("scope", "whose", "seen"),
    [
        ("all", "other", True), ("team", "other", False), ("team", "team", True), ("team", "nobody", True),
        ("team", "me", True), ("own", "team", False), ("own", "nobody", False), ("own", "me", True),
    ],
)  # fmt: skip
def test_scope(house, scope, whose, seen):
    app, lead_id, parts = house
    visitor = reader(app, "front_desk", scope, team="North")
    me = db.session.scalar(db.text("select id from \"user\" where email like 'reader-%'"))
    with transaction():
        lead = service.get(lead_id)
        staff.set_team(user_id=lead.owner_id, team="north" if whose == "other" else "North")
        if whose in ("me", "nobody"):
            service.assign(lead_id=lead.id, version=lead.version, owner_id={"me": me, "nobody": None}[whose])
    expected = 200 if seen else 404
    assert visitor.get(f"/console/leads/{parts['reference']}").status_code == expected
    assert visitor.get(f"/console/contacts/{parts['contact_id']}").status_code == expected
    assert (parts["reference"] in visitor.get("/console/leads").text) is seen


def test_crisis_is_seen_by_all(house):
    app, lead_id, parts = house
    visitor = reader(app, "clinician", "own")
    with transaction():
        crisis.alert_if_crisis("I want to kill myself", lead_id=lead_id, reference=parts["reference"])
    assert visitor.get(f"/console/leads/{parts['reference']}").status_code == 200


def test_new_lead_stays_with_who_sees_only_their_own(house):
    app, _, _ = house
    visitor = reader(app, "front_desk", "own")
    given = {
        "what": "lead", "source": "phone", "first_name": "Bo", "last_name": "New", "phone": "213 555 0101",
    }  # fmt: skip
    answer = visitor.post("/console/new", given)
    assert answer.status_code == 302, answer.text
    assert visitor.get(answer.location).status_code == 200


def test_intake_knows_a_person_out_of_scope(house):
    """A reader who sees only their own leads enters a known person: no second record."""
    app, lead_id, parts = house
    visitor = reader(app, "front_desk", "own")
    given = {
        "what": "lead", "source": "phone", "first_name": "Quillon", "last_name": "Zzyzx", "phone": "213 555 0199",
        "email": "quillon@example.org", "message": "Other question",
    }  # fmt: skip
    visitor.post("/console/new", given)
    found = db.session.scalars(select(Lead.contact_id).where(Lead.id != lead_id)).all()
    assert found in ([], [parts["contact_id"]])


@pytest.mark.parametrize("role", NAMELESS)
def test_no_identity_where_work_needs_none(house, role):
    """The emergency access is the one way to it, and only for this person."""
    app, _, parts = house
    visitor, wrong = reader(app, role, "all"), list[object]()
    for method, address, _, permission in routes(app, parts):
        if method == "GET" and access.has_permission([role], permission):
            shown = visitor.get(address).text
            wrong += [(address, word) for word in CANARIES if word in shown]
    for page in ("/console/leads/search", "/console/leads"):
        shown = visitor.get(f"{page}?q=Zzyzx", follow_redirects=True).text
        wrong += [(page, word) for word in (*CANARIES[2:], parts["reference"]) if word in shown]
    assert wrong == []
    page = visitor.get(f"/console/leads/{parts['reference']}").text
    assert f"Person {parts['contact_id']}" in page
    visitor.post(
        f"/console/records/{parts['reference']}/emergency",
        {"reason": "medical", "text": "Called 911 for them"},
    )
    assert "Quillon Zzyzx" in visitor.get(f"/console/leads/{parts['reference']}").text


def test_scopes_are_set_by_administrators(client, database):
    boss = BrowserClient(database).sign_in(member("admin"))
    boss.get("/console/staff")
    given = dict.fromkeys(LIMITED, "all") | {"marketer": "own"}
    assert boss.post("/console/staff/scopes", given).status_code == 302
    assert staff.scopes()["marketer"] == "own"
    assert boss.post("/console/staff/scopes", given | {"viewer": "x"}).status_code == 422
